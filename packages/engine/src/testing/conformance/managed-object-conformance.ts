import { type Item, ItemType } from "@holdfast/ttlv";
import fc from "fast-check";
import type { Facts, ManagedObject, Register, Revocation } from "../../record/record.ts";
import type { SealedMaterial } from "../../record/sealed.ts";
import { vendorItem, vendorKey } from "../../record/vendor-attribute.ts";

/** Tags that the makers below use. */
const sampleTags = {
  CryptographicUsageMask: 0x42002c,
  Name: 0x420053,
  NameValue: 0x420055,
  NameType: 0x420054,
  ObjectGroup: 0x420056,
} as const;

/** A Name item of type Uninterpreted Text String. */
export function nameItem(name: string): Item {
  return {
    tag: sampleTags.Name,
    type: ItemType.Structure,
    value: [
      { tag: sampleTags.NameValue, type: ItemType.TextString, value: name },
      { tag: sampleTags.NameType, type: ItemType.Enumeration, value: 1 },
    ],
  };
}

/** An Object Group item. */
export function groupItem(group: string): Item {
  return { tag: sampleTags.ObjectGroup, type: ItemType.TextString, value: group };
}

/** A custom attribute `x-name` in its 2.x form. */
export function customItem(name: string, text: string): Item {
  const value: Item = { tag: 0x42000b, type: ItemType.TextString, value: text };
  return vendorItem({ key: vendorKey("x", name), value });
}

/** A register of index 0 made by region `a` at microsecond `us`. */
export function sampleRegister(value: Item, us: number, key = "", index = 0): Register {
  return { tag: value.tag, index, origin: "a", key, value, stamp: { us, region: "a" } };
}

/** A Pre-Active symmetric key with sealed material that nobody can open. */
export function sampleObject(
  instance: string,
  uniqueIdentifier: string,
  registers: readonly Register[] = [],
): ManagedObject {
  return {
    uniqueIdentifier,
    instance,
    objectType: 2,
    fixed: [{ tag: 0x420028, type: ItemType.Enumeration, value: 3 }],
    material: {
      kekId: "0f8fad5b-d9cb-469f-a165-70867728950e",
      nonce: new Uint8Array(12).fill(7),
      ciphertext: new Uint8Array(48).fill(9),
    },
    facts: {},
    registers,
    lastChange: 1_700_000_000,
  };
}

const seconds = fc.integer({ min: -(2 ** 40), max: 2 ** 40 });
const region = fc.constantFrom("a", "b", "eu-de-central-1", "");
const text = fc.string({ unit: "grapheme", maxLength: 20 });
const bytes = fc.uint8Array({ maxLength: 40 });
const fact = fc.record({ time: seconds, region });
const revocation: fc.Arbitrary<Revocation> = fc.record(
  { time: seconds, region, reasonCode: fc.nat(), message: text, occurred: seconds },
  { requiredKeys: ["time", "region"] },
);
const anyTag = fc.oneof(
  fc.integer({ min: 0x420001, max: 0x420180 }),
  fc.constantFrom(0x420008, 0x42000b, 0x540001, 0x540018, 0x54001c, 0x54ffff),
);
const leaf: fc.Arbitrary<Item> = fc.oneof(
  fc.record({ tag: anyTag, type: fc.constant(ItemType.Integer), value: fc.integer() }),
  fc.record({ tag: anyTag, type: fc.constant(ItemType.Enumeration), value: fc.nat() }),
  fc.record({ tag: anyTag, type: fc.constant(ItemType.Boolean), value: fc.boolean() }),
  fc.record({ tag: anyTag, type: fc.constant(ItemType.TextString), value: text }),
  fc.record({ tag: anyTag, type: fc.constant(ItemType.ByteString), value: bytes }),
  fc.record({
    tag: anyTag,
    type: fc.constant(ItemType.DateTime),
    value: fc.bigInt(-9n, 9n ** 15n),
  }),
);
const item: fc.Arbitrary<Item> = fc.oneof(
  leaf,
  fc.record({
    tag: anyTag,
    type: fc.constant(ItemType.Structure),
    value: fc.array(leaf, { maxLength: 4 }),
  }),
  fc.tuple(text, text).map(([name, value]) => customItem(name, value)),
);
const stamp = fc.record({ us: fc.integer({ min: 0, max: 2 ** 53 - 1 }), region });

/** Any register: values of every shape, those that resemble the record's own fields included. */
const anyRegister: fc.Arbitrary<Register> = fc
  .record({
    tag: anyTag,
    index: fc.nat({ max: 3 }),
    origin: region,
    key: fc.constantFrom("", "x\0Name", "x", "\0"),
    value: fc.option(item, { nil: undefined }),
    stamp,
    own: fc.boolean(),
  })
  .map(({ own, ...register }) =>
    own && register.value !== undefined ? ownRegister(register, register.value) : register,
  );

/** As the engine makes them: the value's own tag and key. */
function ownRegister(register: Register, value: Item): Register {
  const [vendor, name] = value.type === ItemType.Structure ? value.value : [];
  const custom = value.tag === 0x420008 && vendor?.tag === 0x42009d;
  const key = custom ? vendorKey("x", String(name?.value)) : "";
  return { ...register, tag: value.tag, key };
}

const material: fc.Arbitrary<SealedMaterial> = fc.record({
  kekId: fc.oneof(fc.uuid(), text),
  nonce: fc.oneof(fc.uint8Array({ minLength: 12, maxLength: 12 }), bytes),
  ciphertext: bytes,
});
const facts: fc.Arbitrary<Facts> = fc.record(
  {
    served: fact,
    activated: fact,
    deactivated: revocation,
    compromised: revocation,
    destroyed: fact,
    destruction: fc.record({
      time: seconds,
      region,
      state: fc.constantFrom("pending", "restored"),
      until: seconds,
      us: seconds,
    }),
  },
  { requiredKeys: [] },
);

/** Any managed object that the record model can hold. */
export const anyManagedObject: fc.Arbitrary<ManagedObject> = fc.record({
  uniqueIdentifier: fc.oneof(fc.uuid(), text),
  instance: fc.oneof(fc.uuid(), text),
  objectType: fc.nat(),
  fixed: fc.array(item, { maxLength: 4 }),
  material: fc.option(material, { nil: undefined }),
  facts,
  registers: fc.uniqueArray(anyRegister, {
    maxLength: 8,
    selector: ({ tag, key, index, origin }) => JSON.stringify([tag, key, index, origin]),
  }),
  lastChange: seconds,
});
