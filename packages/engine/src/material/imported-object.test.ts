import { createHash } from "node:crypto";
import {
  type Attribute,
  attributeItem,
  attributeNameOf,
  attributes,
  attributeValue,
  KmipError,
  objectItem,
  tags,
  vendorAttribute,
} from "@holdfast/kmip";
import { byteString, dateTime, encode, type Item, structure, textString } from "@holdfast/ttlv";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { StoreUnavailable } from "../base/errors.ts";
import { stateOf } from "../record/lifecycle.ts";
import type { ManagedObject } from "../record/record.ts";
import { named } from "../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";
import {
  type ForeignObject,
  holdsSame,
  type ImportAt,
  importedObject,
  sealImported,
  shownDigest,
} from "./imported-object.ts";

const id = "0b2f7c54-5f0e-4a8e-9a43-7a1d8c6f2e10";
const seed = 1_406;
const bytes = Buffer.from("00112233445566778899aabbccddeeff", "hex");
const noAttributes = encode(structure(tags.Attributes.tag, []));

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

function aes(key: Uint8Array = bytes, more: object = {}): Item {
  return objectItem("SymmetricKey", {
    keyBlock: {
      keyFormatType: "Raw",
      keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, key) },
      ...{ cryptographicAlgorithm: "AES", cryptographicLength: key.length * 8 },
      ...more,
    },
  });
}

function foreign(
  items: readonly Item[] = [],
  more: Partial<ForeignObject> = {},
  object: Item = aes(),
): ForeignObject {
  return {
    ...{ uniqueIdentifier: id, objectType: "SymmetricKey", state: "Active" },
    attributes: encode(structure(tags.Attributes.tag, items)),
    value: encode(object),
    ...more,
  };
}

function at(more: Partial<ImportAt> = {}): ImportAt {
  const { now } = engine;
  return {
    ...{ instance: "i", region: "r", nowSeconds: now, nowUs: now * 1e6 },
    ...{ doubt: undefined, approvedOnly: false },
    ...more,
  };
}

async function imported(given: ForeignObject): Promise<ManagedObject> {
  const after = await sealImported(engine.keyRing, importedObject(given, at()));
  const outcome = await engine.store.commit("i", [{ kind: "create", after }], []);
  expect(outcome.kind).toBe("committed");
  return after;
}

function refusalOf(given: ForeignObject, more: Partial<ImportAt> = {}): string {
  try {
    importedObject(given, at(more));
  } catch (error) {
    if (error instanceof KmipError) return error.message;
    throw error;
  }
  return "";
}

const seconds = (name: string, value: number): Item => {
  const { tag } = attributes[name as "InitialDate"];
  return dateTime(tag, BigInt(value));
};

/** A source's attributes by name, with the texts of their items. */
function shown(all: readonly Attribute[]): Readonly<Record<string, readonly string[]>> {
  const texts = Map.groupBy(all, ({ item }) => attributeNameOf(item.tag) ?? String(item.tag));
  return Object.fromEntries(
    [...texts].map(([name, list]) => [
      name,
      list.map(({ item }) => Buffer.from(encode(item)).toString("hex")).toSorted(),
    ]),
  );
}

const text = fc.string({ minLength: 1, maxLength: 20, unit: "grapheme" });
const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
const sources = fc.record({
  key: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  names: fc.uniqueArray(text, { maxLength: 3 }),
  customs: fc.dictionary(fc.stringMatching(/^[A-Za-z]{1,8}$/), text, { maxKeys: 3 }),
  groups: fc.uniqueArray(text, { maxLength: 2 }),
  mask: fc.integer({ min: 1, max: 0xff }),
  activation: maybe(fc.integer({ min: 1_000_000_000, max: 1_779_999_000 })),
  revocation: maybe(
    fc.record({
      code: fc.constantFrom("KeyCompromise", "Superseded", "CessationOfOperation"),
      message: text,
    }),
  ),
});
type Source = typeof sources extends fc.Arbitrary<infer Value> ? Value : never;

/** Registers an object at its source, and revokes it there if that is possible; returns its identifier. */
async function registeredAt(source: TestEngine, one: Source): Promise<string> {
  const { mask, names, customs, groups, activation, revocation } = one;
  const items = [
    attributeItem("CryptographicUsageMask", mask),
    ...names.map((name) => attributeItem("Name", named(name))),
    ...groups.map((group) => attributeItem("ObjectGroup", group)),
    ...Object.entries(customs).map(([name, value]) =>
      vendorAttribute("x", name, textString(tags.AttributeValue.tag, value)),
    ),
    ...(activation === undefined ? [] : [seconds("ActivationDate", activation)]),
  ];
  const set = { attributes: items.map((item) => ({ item })), templateNames: [] };
  const request = { objectType: "SymmetricKey", attributes: set, object: aes(one.key) };
  const { uniqueIdentifier } = await source.ask("2.1", "Register", request);
  if (revocation !== undefined) {
    const revoked = { uniqueIdentifier, revocationReason: revocation };
    // Only an Active object is deactivated.
    await source.reason("2.1", "Revoke", revoked);
  }
  return uniqueIdentifier;
}

describe("an imported object", () => {
  test("has at its new home all that its source showed: bytes, attributes, State and dates", async () => {
    await fc.assert(
      fc.asyncProperty(sources, async (one) => {
        const [source, target] = [await testEngine(), await testEngine()];
        const uniqueIdentifier = await registeredAt(source, one);
        const asked = { uniqueIdentifier, references: [] };
        const got = await source.ask("2.1", "Get", { uniqueIdentifier });
        const before = (await source.ask("2.1", "GetAttributes", asked)).attributes;
        const items = before.map(({ item }) => item);
        const state = items.find(({ tag }) => tag === attributes.State.tag) as Item;
        // The new home is some hours later.
        target.now = source.now + 9_999;
        const object = got.object as Item;
        const moving = { uniqueIdentifier, state: attributeValue("State", state) as "Active" };
        const now = { nowSeconds: target.now, nowUs: target.now * 1e6 };
        const read = importedObject(foreign(items, moving, object), at(now));
        expect(read.left).toEqual([]);
        const after = await sealImported(target.keyRing, read);
        await target.store.commit("i", [{ kind: "create", after }], []);
        const there = await target.ask("2.1", "Get", { uniqueIdentifier });
        expect(encode(there.object as Item)).toEqual(encode(object));
        const moved = (await target.ask("2.1", "GetAttributes", asked)).attributes;
        expect(shown(moved)).toEqual(shown(before));
      }),
      { seed, numRuns: 25 },
    );
  });

  test("keeps dates, flags and links that no client could set", async () => {
    const link = {
      type: "ReplacedObjectLink",
      linkedObjectIdentifier: "7",
    } as const;
    const items = [
      seconds("InitialDate", 1_500_000_000),
      seconds("OriginalCreationDate", 1_400_000_000),
      seconds("LastChangeDate", 1_600_000_000),
      attributeItem("Link", link),
      attributeItem("Sensitive", true),
      attributeItem("AlwaysSensitive", false),
      attributeItem("Extractable", true),
      attributeItem("NeverExtractable", false),
    ];
    await imported(foreign(items));
    const answer = await engine.ask("2.1", "GetAttributes", {
      uniqueIdentifier: id,
      references: [],
    });
    const texts = shown(answer.attributes);
    for (const [name, own] of Object.entries(shown(items.map((item) => ({ item }))))) {
      expect([name, texts[name]]).toEqual([name, own]);
    }
    expect(await engine.reason("2.1", "Get", { uniqueIdentifier: id })).toBe("Sensitive");
  });

  test.each([
    ["PreActive", "PreActive", []],
    ["PreActive", "PreActive", [seconds("ActivationDate", 2_000_000_000)]],
    // The date has come while the keys moved.
    ["PreActive", "Active", [seconds("ActivationDate", 1_000_000_000)]],
    ["Active", "Active", []],
    ["Active", "Deactivated", [seconds("DeactivationDate", 1_700_000_000)]],
    ["Deactivated", "Deactivated", []],
    ["Compromised", "Compromised", []],
    ["Compromised", "Compromised", [seconds("DeactivationDate", 1_700_000_000)]],
  ] as const)("that is %s is later, with its dates, %s", (state, expected, items) => {
    const { object } = importedObject(foreign(items, { state }), at());
    expect(stateOf(object.facts)).toBe(expected);
    // Its source has handed it out, unless that says something else.
    expect(object.facts.served).toEqual({ time: engine.now, region: "r" });
  });

  test("is fresh where its source says so", () => {
    const { object } = importedObject(foreign([attributeItem("Fresh", true)]), at());
    expect(object.facts.served).toBeUndefined();
  });

  test("names what did not come along, and takes no such value over", () => {
    const digest = {
      hashingAlgorithm: "SHA_256",
      digestValue: createHash("sha256").update("another").digest(),
      keyFormatType: "Raw",
    } as const;
    const server = vendorAttribute("y", "Made", textString(tags.AttributeValue.tag, "1"));
    const { left, object } = importedObject(
      foreign([
        attributeItem("LeaseTime", 7),
        attributeItem("Digest", digest),
        attributeItem("UsageLimits", { total: 10n, count: 3n, unit: "Object" }),
        server,
        { ...textString(0x420001, "?"), tag: 0x5400ff },
        seconds("DestroyDate", 1_500_000_000),
      ]),
      at(),
    );
    expect(left.toSorted()).toEqual([
      "0x5400ff",
      "Destroy Date",
      "Digest",
      "Lease Time",
      "Usage Limits",
      "y-Made",
    ]);
    expect(object.registers.map(({ tag }) => tag)).toEqual([attributes.UsageLimits.tag]);
  });
});

describe("an import is refused", () => {
  const wrapping = { wrappingMethod: "Encrypt" } as const;
  const cases: readonly (readonly [why: RegExp, given: () => ForeignObject])[] = [
    [/wrapped/, () => foreign([], {}, aes(bytes, { keyWrappingData: wrapping }))],
    [/no value/, () => foreign([], {}, aes(bytes, { keyValue: undefined }))],
    [/type PublicKey/, () => foreign([], { objectType: "PublicKey" })],
    [/length/i, () => foreign([], {}, aes(bytes, { cryptographicLength: 256 }))],
    [/Key Block/, () => foreign([attributeItem("CryptographicLength", 256)])],
    [/Unique Identifier|UniqueIdentifier/, () => foreign([attributeItem("UniqueIdentifier", "7")])],
    [/State/, () => foreign([attributeItem("State", "Compromised")])],
    [/ObjectType/, () => foreign([attributeItem("ObjectType", "SecretData")])],
    [/Initial Date/, () => foreign([seconds("InitialDate", -1)])],
    [/Initial Date/, () => foreign([seconds("InitialDate", 4_000_000_000)])],
    [
      /one value/,
      () => foreign([1, 2].map((mask) => attributeItem("CryptographicUsageMask", mask))),
    ],
    [
      /must not be before/,
      () => foreign([seconds("ProtectStopDate", 20), seconds("DeactivationDate", 10)]),
    ],
    [/Attributes/, () => foreign([], { attributes: encode(aes()) })],
    [/of type SymmetricKey|Attributes/, () => foreign([], { value: noAttributes })],
  ];

  test.each(cases)("where %s", (why, given) => {
    const message = refusalOf(given());
    expect(message).toMatch(why);
    expect(message).not.toContain(bytes.toString("hex"));
  });

  test("with a key that is not approved, in FIPS mode", () => {
    const des = aes(Buffer.alloc(8), { cryptographicAlgorithm: "DES", cryptographicLength: 64 });
    expect(refusalOf(foreign([], {}, des))).toBe("");
    expect(refusalOf(foreign([], {}, des), { approvedOnly: true })).toMatch(/not approved/);
  });

  test("while clocks disagree on whether a date has come", () => {
    const doubt = { latestSeconds: engine.now + 100, reason: "the clocks differ" };
    const due = foreign([seconds("DeactivationDate", engine.now + 50)]);
    expect(() => importedObject(due, at({ doubt }))).toThrow(StoreUnavailable);
  });
});

describe("the comparison with what is stored", () => {
  test("finds the same key in any format, and no other material or type", async () => {
    const stored = await imported(foreign());
    const same = (given: ForeignObject) =>
      holdsSame(engine.keyRing, stored, importedObject(given, at()));
    const transparent = aes(bytes, {
      keyFormatType: "TransparentSymmetricKey",
      keyValue: {
        keyMaterial: structure(tags.KeyMaterial.tag, [byteString(tags.Key.tag, bytes)]),
      },
    });
    const secret = objectItem("SecretData", {
      secretDataType: "Password",
      keyBlock: {
        keyFormatType: "Raw",
        keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, bytes) },
      },
    });
    expect(await same(foreign())).toBe(true);
    expect(await same(foreign([], {}, transparent))).toBe(true);
    expect(await same(foreign([], {}, aes(Buffer.alloc(16, 1))))).toBe(false);
    expect(await same(foreign([], {}, aes(Buffer.alloc(32, 1))))).toBe(false);
    expect(await same(foreign([], { objectType: "SecretData" }, secret))).toBe(false);
    const erased = { ...stored, material: undefined };
    const again = importedObject(foreign(), at());
    expect(await holdsSame(engine.keyRing, erased, again)).toBe(false);
  });

  test("shows the SHA-256 of a key that it does not help to guess, and of nothing else", () => {
    const digestOf = (object: Item, more: Partial<ForeignObject> = {}) =>
      shownDigest(importedObject(foreign([], more, object), at()));
    expect(digestOf(aes())).toBe(createHash("sha256").update(bytes).digest("hex"));
    const des = { cryptographicAlgorithm: "DES", cryptographicLength: 64 };
    expect(digestOf(aes(Buffer.alloc(8), des))).toBeUndefined();
    const password = objectItem("SecretData", {
      secretDataType: "Password",
      keyBlock: {
        keyFormatType: "Opaque",
        keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, Buffer.from("a long password")) },
      },
    });
    expect(digestOf(password, { objectType: "SecretData" })).toBeUndefined();
  });
});
