import { tags } from "@holdfast/kmip";
import { byteString } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import type { SealedMaterial } from "../record/sealed.ts";
import { generateKey } from "./key-generation.ts";
import { sealObject } from "./material.ts";

const sealed: SealedMaterial = {
  kekId: "k",
  nonce: new Uint8Array(12),
  ciphertext: new Uint8Array(16),
};
const binding = { instance: "i", uniqueIdentifier: "u", objectType: 2 };
const object = byteString(tags.KeyMaterial.tag, Buffer.from("key material of 32 bytes, please"));

describe("a buffer of ours with material in clear is zeroed", () => {
  test.each(["works", "fails"])("once it was sealed, also if sealing %s", async (how) => {
    const given: Uint8Array[] = [];
    const keyRing = {
      open: () => new Uint8Array(),
      seal: async (_: unknown, plaintext: Uint8Array) => {
        expect(Buffer.from(plaintext).includes("key material")).toBe(true);
        given.push(plaintext);
        if (how === "fails") throw new Error("closed");
        return sealed;
      },
    };
    await sealObject(keyRing, binding, object).catch(() => undefined);
    expect(given.map((bytes) => bytes.every((byte) => byte === 0))).toEqual([true]);
  });

  test("and a key is made in one buffer only", () => {
    const made: Uint8Array[] = [];
    const ids = {
      uuid: () => "",
      randomBytes: (length: number) => {
        made.push(new Uint8Array(length).fill(2));
        return made[0] as Uint8Array;
      },
    };
    const { bytes } = generateKey(ids, "DES3");
    expect(bytes).toBe(made[0]);
    expect([...bytes]).toEqual(Array(24).fill(2));
  });
});
