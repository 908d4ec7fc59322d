import { attributes, tags } from "@holdfast/kmip";
import { bigInteger, bigIntegerFromBigint, bigIntegerToBigint, structure } from "@holdfast/ttlv";
import fc from "fast-check";
import { expect, test } from "vitest";
import { locateFilter } from "./locate-filter.ts";
import { valueMatches } from "./locate-match.ts";

const { tag } = tags.AttributeValue;

/** The same number in more bytes. */
function extended(value: bigint, words: number): Uint8Array {
  const bytes = bigIntegerFromBigint(value);
  return Buffer.concat([Buffer.alloc(8 * words, value < 0n ? 0xff : 0), bytes]);
}

test("two Big Integers match if they are the same number, however long", () => {
  const number = fc.bigInt({ min: -(2n ** 130n), max: 2n ** 130n });
  const near = fc.tuple(number, fc.constantFrom(0n, 1n, 2n ** 64n, -(2n ** 127n)));
  fc.assert(
    fc.property(near, fc.nat(3), fc.nat(3), ([value, more], one, other) => {
      const [a, b] = [extended(value, one), extended(value + more, other)];
      const same = bigIntegerToBigint(a) === bigIntegerToBigint(b);
      expect(valueMatches(bigInteger(tag, a), bigInteger(tag, b))).toBe(same);
      expect(valueMatches(bigInteger(tag, b), bigInteger(tag, a))).toBe(same);
    }),
  );
});

test("a search whose attributes are larger than any that is useful is refused", () => {
  const target = { version: "2.1", resolve: (reference: unknown) => String(reference) } as const;
  const filter = (...items: readonly ReturnType<typeof structure>[]) =>
    locateFilter({ attributes: items.map((item) => ({ item })) } as never, target as never);
  const vendor = (bytes: number) =>
    structure(attributes.VendorAttribute.tag, [bigInteger(tag, Buffer.alloc(bytes))]);
  const wide = (fields: number) =>
    structure(
      attributes.VendorAttribute.tag,
      Array.from({ length: fields }, () => bigInteger(tag, Buffer.alloc(8))),
    );
  const limit = "at most 65536 bytes and 256 fields";
  expect(() => filter(vendor(60_000))).not.toThrow();
  expect(() => filter(vendor(40_000), vendor(40_000))).toThrow(limit);
  expect(() => filter(wide(200))).not.toThrow();
  expect(() => filter(wide(200), wide(200))).toThrow(limit);
  expect(() => filter(vendor(1_000_000))).toThrow(limit);
});
