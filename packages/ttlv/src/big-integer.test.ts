import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bigIntegerFromBigint, bigIntegerToBigint } from "./big-integer.ts";
import { TtlvError } from "./error.ts";
import { toHex } from "./hex.ts";

test.each<[bigint, string]>([
  [0n, "0000000000000000"],
  [1n, "0000000000000001"],
  [-1n, "ffffffffffffffff"],
  [127n, "000000000000007f"],
  [2n ** 63n - 1n, "7fffffffffffffff"],
  [2n ** 63n, "00000000000000008000000000000000"],
  [-(2n ** 63n), "8000000000000000"],
  [-(2n ** 63n) - 1n, "ffffffffffffffff7fffffffffffffff"],
  [2n ** 127n - 1n, "7fffffffffffffffffffffffffffffff"],
  [2n ** 127n, "000000000000000080000000000000000000000000000000"],
  [1_234_567_890_000_000_000_000_000_000n, "0000000003fd35eb6bc2df4618080000"],
])("%d has the expected wire form", (value, wire) => {
  expect(toHex(bigIntegerFromBigint(value))).toBe(wire);
  expect(bigIntegerToBigint(bigIntegerFromBigint(value))).toBe(value);
});

test("a longer form than necessary is the same number", () => {
  expect(bigIntegerToBigint(new Uint8Array(24).fill(0xff))).toBe(-1n);
  expect(bigIntegerToBigint(new Uint8Array(24))).toBe(0n);
});

test.each([0, 1, 12])("%d bytes are not a Big Integer", (length) => {
  expect(() => bigIntegerToBigint(new Uint8Array(length))).toThrow(TtlvError);
});

const seed = 0x42_0004;
describe(`properties (seed ${seed})`, () => {
  test("a number is restored from its wire form, which has as few words as possible", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 300n), max: 2n ** 300n }), (value) => {
        const bytes = bigIntegerFromBigint(value);
        expect(bytes.length % 8).toBe(0);
        expect(bigIntegerToBigint(bytes)).toBe(value);
        const shorter = BigInt(bytes.length * 8 - 64);
        expect(shorter === 0n || BigInt.asIntN(Number(shorter), value) !== value).toBe(true);
      }),
      { seed, numRuns: 1000 },
    );
  });
});
