import fc from "fast-check";
import { expect, test } from "vitest";
import { differingMask, digestsOf, firstByteOf, inMask } from "./digest.ts";

const seed = 20261125;
const leaf = fc.record({
  uniqueIdentifier: fc.uuid(),
  tag: fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .map((bytes) => Buffer.from(bytes).toString("hex")),
});
const leaves = fc.uniqueArray(leaf, { selector: (each) => each.uniqueIdentifier, maxLength: 30 });

test.each([
  ["00ffffff-0000-4000-8000-000000000000", 0],
  ["a7000000-0000-4000-8000-000000000000", 0xa7],
  ["ff000000-0000-4000-8000-000000000000", 255],
])("the first byte of %s is %i", (id, byte) => {
  expect(firstByteOf(id)).toBe(byte);
});

test(`digests do not depend on the order, and a leaf twice cancels out (seed ${seed})`, () => {
  fc.assert(
    fc.property(leaves, (some) => {
      const digests = digestsOf(some);
      expect(digestsOf(some.toReversed())).toEqual(digests);
      expect(digestsOf([...some, ...some])).toEqual(new Uint8Array(256 * 16));
    }),
    { seed },
  );
});

test(`the mask asks for what differs, and for nothing else (seed ${seed})`, () => {
  fc.assert(
    fc.property(leaves, leaves, (common, only) => {
      const mask = differingMask(digestsOf(common), digestsOf([...common, ...only]));
      const bytes = new Set(only.map(({ uniqueIdentifier }) => firstByteOf(uniqueIdentifier)));
      if (only.length === 0) {
        expect(mask).toBeUndefined();
        return;
      }
      // Sixteen random bytes each: that they cancel out does not happen by chance.
      for (const { uniqueIdentifier } of [...common, ...only]) {
        const asked = inMask(mask ?? new Uint8Array(32), uniqueIdentifier);
        expect(asked).toBe(bytes.has(firstByteOf(uniqueIdentifier)));
      }
    }),
    { seed },
  );
});
