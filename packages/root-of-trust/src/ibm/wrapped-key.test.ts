import { randomBytes } from "node:crypto";
import { SealBroken } from "@holdfast/engine";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  aadOf,
  decodeWrapped,
  encodeWrapped,
  openUnder,
  sealUnder,
  type WrappedKey,
} from "./wrapped-key.ts";

const ids = {
  uuid: () => "",
  randomBytes: (length: number) => new Uint8Array(randomBytes(length)),
};
const seed = { seed: 20261125 };
const bytes = (minLength = 0, maxLength = 300) => fc.uint8Array({ minLength, maxLength });

describe("wrapped keys", () => {
  test("decode to what was encoded", () => {
    fc.assert(
      fc.property(bytes(1), bytes(28), (outer, sealed) => {
        const ciphertext = Buffer.from(outer).toString("base64");
        const blob = encodeWrapped({ ciphertext, sealed });
        const read: WrappedKey = decodeWrapped(blob ?? new Uint8Array());
        expect(read.ciphertext).toBe(ciphertext);
        expect(Buffer.from(read.sealed)).toEqual(Buffer.from(sealed));
      }),
      seed,
    );
  });

  test("decoding refuses any other bytes, and never reads beyond their end", () => {
    fc.assert(
      fc.property(bytes(), fc.boolean(), (content, ours) => {
        const blob = ours ? Buffer.concat([Buffer.from("HFI1"), content]) : content;
        try {
          const { sealed } = decodeWrapped(blob);
          expect(sealed.length).toBeGreaterThanOrEqual(28);
        } catch (error) {
          expect(error).toBeInstanceOf(SealBroken);
        }
      }),
      seed,
    );
  });

  test.each(["", "no base64!", "QQ", "QR==", "QUJD\n"])("%j is not a ciphertext", (ciphertext) => {
    expect(encodeWrapped({ ciphertext, sealed: randomBytes(60) })).toBeUndefined();
  });

  test("a data key opens what it sealed, with the same additional data only", () => {
    fc.assert(
      fc.property(bytes(), bytes(0, 80), bytes(0, 80), (secret, data, other) => {
        const key = ids.randomBytes(32);
        const sealed = sealUnder(key, secret, data, ids);
        expect(Buffer.from(openUnder(key, sealed, data))).toEqual(Buffer.from(secret));
        expect(() => openUnder(ids.randomBytes(32), sealed, data)).toThrow(SealBroken);
        if (Buffer.compare(data, other) === 0) return;
        expect(() => openUnder(key, sealed, other)).toThrow(SealBroken);
        expect(aadOf(data)).not.toEqual(aadOf(other));
      }),
      seed,
    );
  });

  test.each([0, 16, 31, 33])("%i bytes are not a valid data key", (length) => {
    const sealed = sealUnder(ids.randomBytes(32), randomBytes(32), randomBytes(8), ids);
    expect(() => openUnder(randomBytes(length), sealed, randomBytes(8))).toThrow(SealBroken);
  });

  test("additional data is sent to Key Protect as one text that it accepts", () => {
    expect(aadOf(randomBytes(500))).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
  });
});
