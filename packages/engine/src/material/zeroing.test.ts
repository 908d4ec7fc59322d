import { tags } from "@holdfast/kmip";
import { byteString } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import type { ManagedObject } from "../record/record.ts";
import type { SealedMaterial } from "../record/sealed.ts";
import { generateKey } from "./key-generation.ts";
import { sealObject } from "./material.ts";
import { type Releaser, sealsBy } from "./reseal.ts";

const sealed: SealedMaterial = {
  kekId: "k",
  nonce: new Uint8Array(12),
  ciphertext: new Uint8Array(16),
};
const binding = { instance: "i", uniqueIdentifier: "u", objectType: 2 };
const bare: ManagedObject = {
  ...binding,
  fixed: [],
  material: undefined,
  facts: {},
  registers: [],
  lastChange: 0,
};
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

  test.each(["newer", "releases"] as const)(
    "once two copies were compared (%s), also if the second one does not open",
    async (how) => {
      const given: Uint8Array[] = [];
      const give = () => {
        given.push(Buffer.from("key material"));
        return given[given.length - 1] as Uint8Array;
      };
      let isBroken = true;
      const keyRing: Releaser = {
        open: async () => {
          if (isBroken && (how === "releases" || given.length > 0)) throw new Error("closed");
          return give();
        },
        openAny: async () => give(),
        reseal: async (_, seal) => seal,
        newerSeal: (_, one) => one,
        holding: (body) => body(),
        sealingId: async () => "k",
      };
      const seals = sealsBy(keyRing);
      const [one, other] = ["k", "l"].map((kekId) => ({ ...bare, material: { ...sealed, kekId } }));
      if (one === undefined || other === undefined) throw new Error("no objects");
      await expect(seals[how](one, other)).rejects.toThrow("closed");
      expect(given.map((bytes) => bytes.every((byte) => byte === 0))).toEqual([true]);
      isBroken = false;
      given.length = 0;
      await seals[how](one, other);
      expect(given.map((bytes) => bytes.every((byte) => byte === 0))).toEqual([true, true]);
    },
  );

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
