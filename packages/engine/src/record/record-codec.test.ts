import {
  byteString,
  decode,
  encode,
  enumeration,
  type Item,
  integer,
  structure,
  textString,
} from "@holdfast/ttlv";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { StoreUnavailable } from "../base/errors.ts";
import {
  anyManagedObject,
  customItem,
  sampleObject,
  sampleRegister,
} from "../testing/conformance/managed-object-conformance.ts";
import type { ManagedObject } from "./record.ts";
import {
  areKnownAlike,
  decodeRecord,
  encodeRecord,
  identifierIn,
  recordFormat,
  recordTag,
  tagOf,
} from "./record-codec.ts";
import { recordTags } from "./record-tags.ts";

const seed = 20260101;
const instance = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
const identifier = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

/** What vCenter's Create makes: an AES-256 key with usage mask Encrypt, Decrypt. */
function vSphereKey(customs: readonly (readonly [string, string])[]): ManagedObject {
  return {
    ...sampleObject(instance, identifier, [
      { ...sampleRegister(integer(0x42002c, 12), 1_700_000_000_000_000), origin: "" },
      ...customs.map(([name, value], index) =>
        sampleRegister(customItem(name, value), 1_700_000_000_000_001 + index, `x\0${name}`),
      ),
    ]),
    fixed: [enumeration(0x420028, 3), integer(0x42002a, 256)],
    material: {
      kekId: "0f8fad5b-d9cb-469f-a165-70867728950e",
      nonce: new Uint8Array(12),
      ciphertext: new Uint8Array(112 + 16),
    },
  };
}

test(`any object is decoded unchanged (seed ${seed})`, () => {
  fc.assert(
    fc.property(anyManagedObject, (object) => {
      const back = decodeRecord(encodeRecord(object));
      expect(encodeRecord(back)).toEqual(encodeRecord(object));
      const registers = new Set(back.registers.map((register) => JSON.stringify(plain(register))));
      expect(registers).toEqual(new Set(object.registers.map((r) => JSON.stringify(plain(r)))));
      expect(plain({ ...back, registers: [] })).toEqual(plain({ ...object, registers: [] }));
    }),
    { seed, numRuns: 300 },
  );
});

test(`the order of registers and of regions does not matter (seed ${seed})`, () => {
  fc.assert(
    fc.property(
      anyManagedObject.chain((object) =>
        fc.tuple(
          fc.constant(object),
          fc.shuffledSubarray([...object.registers], { minLength: object.registers.length }),
        ),
      ),
      ([object, registers]) => {
        const facts = Object.fromEntries(Object.entries(object.facts).toReversed());
        const other = encodeRecord({ ...object, registers, facts });
        expect(tagOf(other)).toBe(tagOf(encodeRecord(object)));
      },
    ),
    { seed, numRuns: 200 },
  );
});

describe("garbage is StoreUnavailable and nothing else", () => {
  function isObjectOrCorrupt(bytes: Uint8Array): void {
    try {
      // An edited object is encoded again: what decodes has no other bytes than these.
      expect(Buffer.from(encodeRecord({ ...decodeRecord(bytes) }))).toEqual(Buffer.from(bytes));
    } catch (error) {
      expect(error).toBeInstanceOf(StoreUnavailable);
      expect((error as StoreUnavailable).failure).toMatch(/^(corrupt|unknownFormat)$/);
    }
  }

  test(`any bytes (seed ${seed})`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(() => decodeRecord(bytes)).toThrow(StoreUnavailable);
      }),
      { seed, numRuns: 500 },
    );
  });

  test(`a record with a byte changed (seed ${seed})`, () => {
    fc.assert(
      fc.property(
        anyManagedObject,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (object, at, by) => {
          const bytes = Uint8Array.from(encodeRecord(object));
          const index = at % bytes.length;
          bytes[index] = (bytes[index] ?? 0) ^ by;
          isObjectOrCorrupt(bytes);
        },
      ),
      { seed, numRuns: 500 },
    );
  });

  test("a record with its fields in another order, dropped or doubled", () => {
    const record = decode(encodeRecord(vSphereKey([["Name", "vm"]])));
    const fields = record.type === 1 ? record.value : [];
    for (const [index, field] of fields.entries()) {
      for (const changed of [
        fields.toSpliced(index, 1),
        fields.toSpliced(index, 0, field),
        [field, ...fields.toSpliced(index, 1)],
      ]) {
        // Material may be absent, a fact too; and the first field put first is the record itself.
        const legal = field.tag === recordTags.Material && changed.length < fields.length;
        if (legal || changed.every((item, at) => item === fields[at])) continue;
        const bytes = encode(structure(recordTags.Record, changed));
        expect(() => decodeRecord(bytes), `field ${index}`).toThrow(StoreUnavailable);
      }
    }
  });
});

describe("bytes that are not canonical are not a record", () => {
  const object = {
    ...vSphereKey([["Name", "vm"]]),
    material: { kekId: "kek", nonce: new Uint8Array(3), ciphertext: new Uint8Array(1) },
  };
  const record = decode(encodeRecord(object));
  const fields = record.type === 1 ? record.value : [];
  const at = (tag: number) => fields.findIndex((item) => item.tag === tag);
  const registers = fields[at(recordTags.Registers)]?.value as readonly Item[];
  const withRegisters = (items: readonly Item[]) =>
    fields.with(at(recordTags.Registers), structure(recordTags.Registers, items));
  const short = registers.find(({ tag }) => tag === 0x42002c) as Item;
  const stamp = registers[0] as Item;
  const long = structure(recordTags.AnyValue, [integer(recordTags.AttributeTag, short.tag), short]);
  const material = (items: readonly Item[]) =>
    fields.with(at(recordTags.Material), structure(recordTags.Material, items));

  test.each<[string, readonly Item[]]>([
    [
      "a listed region that is not used",
      fields.toSpliced(at(recordTags.Fixed), 0, textString(recordTags.Region, "zz")),
    ],
    ["a stamp twice", withRegisters([stamp, ...registers])],
    [
      "no origin twice",
      withRegisters(registers.toSpliced(1, 0, textString(recordTags.Origin, ""))),
    ],
    [
      "index 0",
      withRegisters(registers.toSpliced(registers.indexOf(short), 0, integer(recordTags.Index, 0))),
    ],
    [
      "no key",
      withRegisters(
        registers.toSpliced(registers.indexOf(short), 0, textString(recordTags.Key, "")),
      ),
    ],
    ["a value in its long form", withRegisters(registers.with(registers.indexOf(short), long))],
    [
      "material in its long form",
      material([
        byteString(recordTags.KekId, new Uint8Array(16)),
        byteString(recordTags.Nonce, new Uint8Array(12)),
        byteString(recordTags.Ciphertext, new Uint8Array(17)),
      ]),
    ],
  ])("%s", (_, items) => {
    const bytes = encode(structure(recordTags.Record, items));
    expect(() => decodeRecord(bytes)).toThrow("does not decode");
  });

  test("but canonical ones with the same fields are", () => {
    const bytes = encode(structure(recordTags.Record, withRegisters(registers)));
    expect(bytes).toEqual(Uint8Array.from(encodeRecord(object)));
    expect(decodeRecord(bytes).uniqueIdentifier).toBe(identifier);
  });
});

test(`an object is encoded once, and an edited one is encoded again (seed ${seed})`, () => {
  fc.assert(
    fc.property(anyManagedObject, fc.nat(), (object, lastChange) => {
      const bytes = encodeRecord(object);
      expect(encodeRecord(object)).toBe(bytes);
      expect(recordTag(object)).toBe(tagOf(bytes));
      const back = decodeRecord(bytes);
      expect(encodeRecord(back)).toBe(bytes);
      expect(areKnownAlike(object, back)).toBe(true);
      for (const known of [object, back]) {
        const edited = { ...known, lastChange };
        expect(areKnownAlike(known, edited)).toBe(false);
        expect(decodeRecord(encodeRecord(edited)).lastChange).toBe(lastChange);
        expect(recordTag(edited)).toBe(tagOf(encodeRecord({ ...edited })));
      }
    }),
    { seed, numRuns: 100 },
  );
});

describe("a record that another release wrote is unknown, and not corrupt", () => {
  const record = decode(encodeRecord(vSphereKey([["Name", "vm"]])));
  const fields = record.type === 1 ? record.value : [];
  const failureOf = (items: readonly Item[]): unknown => {
    try {
      return decodeRecord(encode(structure(recordTags.Record, items)));
    } catch (error) {
      return (error as StoreUnavailable).failure;
    }
  };

  test.each([0, recordFormat + 1, 2 ** 31 - 1])("in format %i", (format) => {
    const items = [integer(recordTags.Format, format), ...fields.slice(1)];
    expect(failureOf(items)).toBe("unknownFormat");
    expect(identifierIn(encode(structure(recordTags.Record, items)))).toBe(identifier);
  });

  test("a field that its format does not have, in any place", () => {
    const strange = integer(0x5400ff, 1);
    for (const at of [...fields.keys(), fields.length]) {
      const failure = failureOf(fields.toSpliced(at, 0, strange));
      // An optional field is found by its tag; among registers, any tag of ours must be a known one.
      expect(failure, `before field ${at}`).toBe("unknownFormat");
    }
  });

  test("but one that lacks a field of this format, or has it with another type, is damaged", () => {
    expect(failureOf(fields.slice(0, -1))).toBe("corrupt");
    expect(failureOf([fields[0] as Item, integer(recordTags.UniqueIdentifier, 1)])).toBe("corrupt");
  });
});

test("two registers with one identity are the caller's mistake", () => {
  const twice = sampleRegister(integer(0x42002c, 12), 1);
  expect(() => encodeRecord(sampleObject(instance, identifier, [twice, twice]))).toThrow(
    RangeError,
  );
});

test("material of an unusual form is kept in full", () => {
  const material = { kekId: "kek", nonce: new Uint8Array(3), ciphertext: new Uint8Array(1) };
  const object = { ...sampleObject(instance, identifier), material };
  expect(plain(decodeRecord(encodeRecord(object)).material)).toEqual(plain(material));
});

test("the tag is 32 hexadecimal digits of the whole record's SHA-256", () => {
  expect(tagOf(new Uint8Array())).toBe("e3b0c44298fc1c149afbf4c8996fb924");
});

describe("the size of a record", () => {
  test("is 368 bytes for a new AES-256 key of vSphere", () => {
    expect(encodeRecord(vSphereKey([])).length).toBe(368);
  });

  test("is 800 bytes with the six custom attributes of vSphere", () => {
    const customs = [
      ["Product_Version", "7.0.3 build-19480866"],
      ["Vendor", "VMware, Inc."],
      ["Product", "VMware vSphere"],
      ["Identifier", "5026e1a8-0c7e-4a0f-9b58-3f1d2a7c6e11"],
      ["Component", "Virtual Machine"],
      ["Name", "accounting-db-01"],
    ] as const;
    expect(encodeRecord(vSphereKey(customs)).length).toBe(800);
  });
});

/** Bytes and bigints as text, so that a view equals a copy. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return `hex:${Buffer.from(value).toString("hex")}`;
  if (typeof value === "bigint") return `${value}n`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, plain(inner)]),
  );
}

test("bytes are views on the record, not copies", () => {
  const bytes = encodeRecord(sampleObject(instance, identifier));
  const { material } = decodeRecord(bytes);
  expect(material?.ciphertext.buffer).toBe(bytes.buffer);
});
