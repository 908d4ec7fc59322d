import { createCipheriv, createHash, randomBytes } from "node:crypto";
import type { KmipClient } from "@holdfast/client";
import {
  inKeyFormat,
  keyBlockOf,
  objectItem,
  plainKeyOf,
  tags,
  withKeyBlock,
} from "@holdfast/kmip";
import { byteString, encode, type Item, structure } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { digestOf, fetched, isSame, TransportKey, wipe } from "./material.ts";
import { Peer } from "./peer.ts";

const keyOf = (bytes: Uint8Array): Item =>
  objectItem("SymmetricKey", {
    keyBlock: {
      keyFormatType: "Raw",
      keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, bytes) },
      cryptographicAlgorithm: "AES",
      cryptographicLength: 8 * bytes.length,
    },
  });
const bytesOf = (object: Item) => {
  const block = keyBlockOf(object);
  return block === undefined ? undefined : plainKeyOf(block);
};

/** A client that keeps what is registered. */
async function transport(): Promise<{ key: TransportKey; bytes: Buffer }> {
  let bytes = Buffer.alloc(0);
  const client = {
    version: "1.4",
    register: async ({ object }: { object: Item }) => {
      bytes = Buffer.from(bytesOf(object) ?? []);
      return { uniqueIdentifier: "transport" };
    },
    activate: async () => ({ uniqueIdentifier: "transport" }),
  } as unknown as KmipClient;
  const around = {
    now: () => 0,
    date: () => new Date(0),
    sleep: async () => undefined,
    newId: () => "1",
  };
  const peer = new Peer(client, { ms: 0, around, who: "the source" });
  return { key: await TransportKey.register(peer, around.newId), bytes };
}

/** RFC 3394 with separate code. */
function wrap(key: Uint8Array, plain: Uint8Array): Uint8Array {
  const cipher = createCipheriv("id-aes256-wrap", key, Buffer.alloc(8, 0xa6));
  return Buffer.concat([cipher.update(plain), cipher.final()]);
}

describe("a transport key", () => {
  const wrapping = { wrappingMethod: "Encrypt" } as const;

  test.each(["bytes in a Key Value", "a whole Key Value without encoding", "an encoded Key Value"])(
    "opens %s",
    async (form) => {
      const { key, bytes } = await transport();
      const secret = randomBytes(32);
      const plain = keyOf(secret);
      const block = keyBlockOf(plain);
      if (block === undefined) throw new Error("no block");
      const encoded = encode(
        structure(tags.KeyValue.tag, [byteString(tags.KeyMaterial.tag, secret)]),
      );
      const isEncoded = form === "an encoded Key Value";
      const wrapped = wrap(bytes, isEncoded ? encoded : secret);
      const keyValue =
        form === "bytes in a Key Value"
          ? { keyMaterial: byteString(tags.KeyMaterial.tag, wrapped) }
          : wrapped;
      const keyWrappingData = isEncoded
        ? wrapping
        : ({ ...wrapping, encodingOption: "NoEncoding" } as const);
      const object = withKeyBlock(plain, { ...block, keyValue, keyWrappingData });
      const opened = key.unwrap(object);
      expect(Buffer.from(bytesOf(opened) ?? [])).toEqual(secret);
      expect(isSame(opened, plain)).toBe(true);
    },
  );

  test("refuses a key that was not wrapped, and one that another key wrapped", async () => {
    const { key } = await transport();
    const plain = keyOf(randomBytes(32));
    expect(() => key.unwrap(plain)).toThrow("does not wrap this key");
    const block = keyBlockOf(plain);
    if (block === undefined) throw new Error("no block");
    const wrapped = wrap(randomBytes(32), randomBytes(32));
    const keyValue = { keyMaterial: byteString(tags.KeyMaterial.tag, wrapped) };
    const object = withKeyBlock(plain, { ...block, keyValue, keyWrappingData: wrapping });
    expect(() => key.unwrap(object)).toThrow("another way");
  });

  /** Gets an object as the source gives it. */
  const got = (key: TransportKey, object: Item) => {
    const source = { object: async () => object } as unknown as Peer;
    return fetched(source, "id-1", "SymmetricKey", key);
  };

  test("that did not wrap one key refuses this one, overwrites it, and opens the next", async () => {
    const { key, bytes } = await transport();
    const secret = randomBytes(32);
    expect(await got(key, keyOf(secret))).toEqual({
      id: "id-1",
      gone: false,
      refused: expect.stringContaining("does not wrap this key"),
    });
    expect(secret).toEqual(Buffer.alloc(32));
    const other = randomBytes(32);
    const block = keyBlockOf(keyOf(other));
    if (block === undefined) throw new Error("no block");
    const keyValue = { keyMaterial: byteString(tags.KeyMaterial.tag, wrap(bytes, other)) };
    const wrapped = { ...block, keyValue, keyWrappingData: wrapping };
    const opened = (await got(key, withKeyBlock(keyOf(other), wrapped))) as Item;
    expect(isSame(opened, keyOf(other))).toBe(true);
    // The bytes are a key, and not the encoded Key Value that the source says.
    const wrong = { ...wrapped, keyValue: wrap(bytes, other) };
    const refused = "the wrapped key cannot be read";
    expect(await got(key, withKeyBlock(keyOf(other), wrong))).toMatchObject({ refused });
    const format = { ...wrapped, keyFormatType: "TransparentSymmetricKey" } as const;
    expect(await got(key, withKeyBlock(keyOf(other), format))).toMatchObject({ refused });
  });

  test("ends the work with a source that wraps nothing", async () => {
    const { key } = await transport();
    for (let at = 0; at < 100; at += 1) {
      expect(await got(key, keyOf(randomBytes(32)))).toHaveProperty("refused");
    }
    await expect(got(key, keyOf(randomBytes(32)))).rejects.toThrow("wrapped none of 100 keys");
  });
});

describe("material", () => {
  test("has KMIP's Digest of a symmetric key, and of nothing else", () => {
    const secret = randomBytes(32);
    expect(digestOf(keyOf(secret))).toBe(createHash("sha256").update(secret).digest("hex"));
    const block = { keyFormatType: "Opaque" as const };
    const keyMaterial = byteString(tags.KeyMaterial.tag, secret);
    const data = objectItem("SecretData", {
      secretDataType: "Password",
      keyBlock: { ...block, keyValue: { keyMaterial } },
    });
    expect(digestOf(data)).toBeUndefined();
  });

  test("is the same in another key format, and not with one other bit", () => {
    const secret = randomBytes(32);
    const block = keyBlockOf(keyOf(secret));
    const other = block && inKeyFormat(block, "TransparentSymmetricKey");
    if (other === undefined) throw new Error("no other format");
    expect(isSame(keyOf(secret), withKeyBlock(keyOf(secret), other))).toBe(true);
    const changed = Buffer.from(secret);
    changed[31] = (changed[31] ?? 0) ^ 1;
    expect(isSame(keyOf(secret), keyOf(changed))).toBe(false);
  });

  test("is overwritten after use", () => {
    const secret = randomBytes(32);
    wipe(keyOf(secret));
    expect(secret).toEqual(Buffer.alloc(32));
  });
});
