import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { authenticated, parseBlob, printBlob } from "./blob.ts";
import { failureOf, isDone, isLost, isPinRefused, textOf } from "./codes.ts";
import { BlobBroken, TokenLost } from "./faults.ts";

const seed = 20_261_125;
const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array));
const parts = fc.record({
  version: fc.integer({ min: 1, max: 0xffff_ffff }),
  iv: bytes(16),
  ciphertext: fc.integer({ min: 1, max: 8 }).chain((blocks) => bytes(16 * blocks)),
  mac: bytes(32),
});

describe("a blob of a PKCS#11 root", () => {
  test(`is parsed into the parts that it was built from (seed ${seed})`, () => {
    fc.assert(
      fc.property(parts, (given) => {
        expect(parseBlob(printBlob(given))).toEqual(given);
      }),
      { seed },
    );
  });

  test(`is rejected if it consists of any other bytes (seed ${seed})`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (given) => {
        fc.pre(!Buffer.from(given.subarray(0, 4)).equals(Buffer.from("HFP1")));
        expect(() => parseBlob(given)).toThrow(BlobBroken);
      }),
      { seed },
    );
  });

  test("is rejected if it has an invalid length", () => {
    const whole = Buffer.concat([Buffer.from("HFP1"), Buffer.alloc(4 + 16 + 48 + 32)]);
    for (let length = 0; length < whole.length; length++) {
      const ciphertextBytes = length - 56;
      const sound = ciphertextBytes > 0 && ciphertextBytes % 16 === 0;
      const cut = whole.subarray(0, length);
      if (sound) expect(parseBlob(cut).ciphertext).toHaveLength(ciphertextBytes);
      else expect(() => parseBlob(cut)).toThrow(BlobBroken);
    }
  });

  test(`is authenticated unambiguously: the same bytes always mean the same parts (seed ${seed})`, () => {
    const data = fc.uint8Array({ maxLength: 40 });
    fc.assert(
      fc.property(parts, data, parts, data, (one, its, other, others) => {
        const same = authenticated(one, its).equals(authenticated(other, others));
        const { mac: _, ...said } = one;
        const { mac: __, ...otherSaid } = other;
        const equal = JSON.stringify([said, [...its]]) === JSON.stringify([otherSaid, [...others]]);
        expect(same).toBe(equal);
      }),
      { seed },
    );
  });

  test("is authenticated with the length of the additional data, so that no byte can move between the parts", () => {
    const iv = Buffer.alloc(16, 1);
    const whole = { version: 1, iv, ciphertext: Buffer.alloc(16, 2) };
    const moved = { version: 1, iv: whole.ciphertext, ciphertext: Buffer.alloc(0) };
    const one = authenticated(whole, Buffer.alloc(0));
    expect(one.equals(authenticated(moved, iv))).toBe(false);
  });
});

describe("an error of a PKCS#11 call", () => {
  const error = (code: number) =>
    Object.assign(new Error("CKR_SOMETHING\nmore"), { code, method: "C_Login" });

  test.each<[string, number, string]>([
    ["PIN_INCORRECT", 0xa0, "denied"],
    ["PIN_LOCKED", 0xa4, "denied"],
    ["USER_PIN_NOT_INITIALIZED", 0x102, "unavailable"],
    ["KEY_FUNCTION_NOT_PERMITTED", 0x68, "disabled"],
    ["DEVICE_REMOVED", 0x32, "unavailable"],
    ["HOST_MEMORY", 0x02, "unavailable"],
    ["a code of the vendor's", 0x8000_0001, "unavailable"],
  ])("with code %s (%i) is %s", (_name, code, failure) => {
    expect(failureOf(error(code))).toBe(failure);
    expect(isPinRefused(error(code))).toBe(failure === "denied");
  });

  test("resets what is known about the token if that is lost, but not for a wrong PIN", () => {
    const lost = [0x32, 0xb3, 0xe0, 0x101, 0x102, 0x190, 0x60, 0x82];
    expect(lost.every((code) => isLost(error(code)))).toBe(true);
    expect(isLost(new TokenLost("none"))).toBe(true);
    expect([0xa0, 0xa4, 0x68, 0x40].some((code) => isLost(error(code)))).toBe(false);
    expect([0x191, 0x100].every((code) => isDone(error(code)))).toBe(true);
  });

  test("is shown as one line with the call's name", () => {
    expect(textOf(error(0xa0))).toBe("C_Login: CKR_SOMETHING");
    expect(textOf("no error")).toBe("unknown error");
  });
});
