import { byteString, enumeration, type Item, ItemType, integer, textString } from "@holdfast/ttlv";
import fc from "fast-check";
import { expect, test } from "vitest";
import { attributeItem } from "../attributes/attribute.ts";
import { KmipError } from "../schema/faults.ts";
import { tags } from "../schema/tags.ts";
import { versions } from "../schema/version.ts";
import { objectItem } from "./objects.ts";
import { decodeRequest, encodeRequest } from "./request.ts";
import { decodeResponse, encodeResponse } from "./response.ts";

const seed = 0x4b_32;

const secret = "correct horse battery staple";
const name = attributeItem("Name", { value: "key 1", type: "UninterpretedTextString" });
const material = byteString(tags.KeyMaterial.tag, new TextEncoder().encode(secret));
const object = objectItem("SymmetricKey", {
  keyBlock: {
    keyFormatType: "Raw",
    keyValue: { keyMaterial: material, attributes: [{ item: name }] },
    cryptographicAlgorithm: "AES",
    cryptographicLength: 224,
  },
});

const requests = versions.map((version) =>
  encodeRequest({
    version,
    header: {
      maximumResponseSize: 4096,
      credentials: [{ type: "UsernameAndPassword", username: "u", password: secret }],
      batchErrorContinuationOption: "Undo",
      batchOrderOption: true,
      timeStamp: 1_700_000_000,
    },
    items: [
      {
        operation: "Register",
        uniqueBatchItemId: Uint8Array.of(1),
        payload: {
          objectType: "SymmetricKey",
          attributes: { attributes: [{ item: name }], templateNames: [] },
          object,
        },
      },
      {
        operation: "Locate",
        uniqueBatchItemId: Uint8Array.of(2),
        payload: { maximumItems: 1, attributes: [{ item: name }] },
        extensions: [
          {
            vendorIdentification: "v",
            criticalityIndicator: false,
            vendorExtension: integer(tags.VendorExtension.tag, 1),
          },
        ],
      },
      {
        operation: "Revoke",
        uniqueBatchItemId: Uint8Array.of(3),
        payload: { uniqueIdentifier: "id", revocationReason: { code: "KeyCompromise" } },
      },
    ],
  }),
);

const responses = versions.map((version) =>
  encodeResponse({
    version,
    timeStamp: 1_700_000_000,
    serverCorrelationValue: "s",
    items: [
      {
        operation: "Get",
        status: "Success",
        payload: { objectType: "SymmetricKey", uniqueIdentifier: "id", object },
      },
      { operation: "Destroy", status: "OperationFailed", reason: "PermissionDenied", message: "m" },
    ],
  }),
);

const knownTags = Object.values(tags).map((row) => row.tag);
const anyTag = fc.oneof(fc.constantFrom(...knownTags), fc.integer({ min: 0, max: 0xffffff }));
const long = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const small = fc.integer({ min: -3, max: 80 });

const { item: anyItem } = fc.letrec<{ item: Item; leaf: Item }>((tie) => ({
  leaf: fc.oneof(
    fc.tuple(anyTag, fc.oneof(small, fc.integer())).map(([tag, value]) => integer(tag, value | 0)),
    fc
      .tuple(anyTag, fc.oneof(small, fc.integer()))
      .map(([tag, value]) => enumeration(tag, value >>> 0)),
    fc.tuple(anyTag, fc.string({ maxLength: 8 })).map(([tag, value]) => textString(tag, value)),
    fc.tuple(anyTag, fc.uint8Array({ maxLength: 8 })).map(([tag, value]) => byteString(tag, value)),
    fc.record({ tag: anyTag, type: fc.constant(ItemType.Boolean), value: fc.boolean() }),
    fc.record({
      tag: anyTag,
      type: fc.constantFrom(ItemType.LongInteger, ItemType.DateTime),
      value: long,
    }),
    fc.record({ tag: anyTag, type: fc.constant(ItemType.DateTimeExtended), value: long }),
    fc.record({ tag: anyTag, type: fc.constant(ItemType.Interval), value: fc.nat() }),
    fc.record({
      tag: anyTag,
      type: fc.constant(ItemType.BigInteger),
      value: fc.constant(new Uint8Array(8)),
    }),
  ),
  item: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    tie("leaf"),
    fc.record({
      tag: anyTag,
      type: fc.constant(ItemType.Structure),
      value: fc.array(tie("item"), { maxLength: 4 }),
    }),
  ),
}));

type Change = (items: readonly Item[], at: number, other: Item) => readonly Item[];
const changes: readonly Change[] = [
  (items, at) => items.toSpliced(at, 1),
  (items, at, other) => items.with(at, other),
  (items, at, other) => items.toSpliced(at, 0, other),
  (items, at) => items.toSpliced(at, 0, ...items.slice(at, at + 1)),
  (items, at, other) => items.with(at, { ...(items[at] ?? other), tag: other.tag }),
  (items, at, other) => items.with(at, { ...other, tag: items[at]?.tag ?? other.tag }),
  (items) => items.toReversed(),
];

/** Changes one place in a message: `path` selects a child at each level, `change` the change. */
function mutate(item: Item, path: readonly number[], change: Change, other: Item): Item {
  if (item.type !== ItemType.Structure || item.value.length === 0) return other;
  const [step = 0, ...rest] = path;
  const at = step % item.value.length;
  const child = item.value[at];
  if (rest.length === 0 || child?.type !== ItemType.Structure || child.value.length === 0) {
    return { ...item, value: change(item.value, at, other) };
  }
  return { ...item, value: item.value.with(at, mutate(child, rest, change, other)) };
}

const mutation = fc.record({
  path: fc.array(fc.nat({ max: 11 }), { minLength: 1, maxLength: 8 }),
  change: fc.constantFrom(...changes),
  other: anyItem,
});

function mutated(
  message: Item,
  mutations: readonly { path: number[]; change: Change; other: Item }[],
) {
  return mutations.reduce(
    (item, { path, change, other }) => mutate(item, path, change, other),
    message,
  );
}

/** Runs `read` and returns the faults that it found; any error but a KmipError fails the test. */
function faultsOf(read: () => readonly (KmipError | undefined)[]): readonly KmipError[] {
  try {
    return read().filter((fault) => fault !== undefined);
  } catch (error) {
    if (error instanceof KmipError) return [error];
    throw error;
  }
}

const runs = { seed, numRuns: 4000 };

test(`the messages that the other tests change decode (seed ${seed})`, () => {
  for (const message of requests) {
    const { items } = decodeRequest(message);
    expect(items.map(({ fault }) => fault)).toEqual([undefined, undefined, undefined]);
  }
  for (const message of responses) expect(decodeResponse(message).items).toHaveLength(2);
});

test(`a changed request decodes or causes a KmipError without secrets (seed ${seed})`, () => {
  let faulty = 0;
  const property = fc.property(
    fc.constantFrom(...requests),
    fc.array(mutation, { minLength: 1, maxLength: 3 }),
    (message, mutations) => {
      const changed = mutated(message, mutations);
      const faults = faultsOf(() => decodeRequest(changed).items.map(({ fault }) => fault));
      faulty += faults.length > 0 ? 1 : 0;
      for (const fault of faults) expect(fault.message).not.toContain(secret.slice(0, 7));
    },
  );
  fc.assert(property, runs);
  expect(faulty).toBeGreaterThan(runs.numRuns / 2);
});

test(`a changed response decodes or causes a KmipError (seed ${seed})`, () => {
  const property = fc.property(
    fc.constantFrom(...responses),
    fc.array(mutation, { minLength: 1, maxLength: 3 }),
    (message, mutations) => {
      const changed = mutated(message, mutations);
      for (const fault of faultsOf(() => [void decodeResponse(changed)])) {
        expect(fault.message).not.toContain(secret.slice(0, 7));
      }
    },
  );
  fc.assert(property, runs);
});

test(`any item decodes as request or response, or causes a KmipError (seed ${seed})`, () => {
  const property = fc.property(anyItem, (item) => {
    faultsOf(() => decodeRequest(item).items.map(({ fault }) => fault));
    faultsOf(() => [void decodeResponse(item)]);
  });
  fc.assert(property, runs);
});
