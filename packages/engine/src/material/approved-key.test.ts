import { objectItem, tags } from "@holdfast/kmip";
import { byteString } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import { attributeSet } from "../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine({ approvedOnly: true });
});

describe("Create in FIPS mode", () => {
  function payload(algorithm: string, length: number) {
    const given = { CryptographicAlgorithm: algorithm as "AES", CryptographicLength: length };
    return { objectType: "SymmetricKey", attributes: attributeSet(given) };
  }

  test.each([
    ["AES", 128],
    ["AES", 256],
    ["HMAC_SHA1", 160],
    ["HMAC_SHA256", 112],
    ["HMAC_SHA3_512", 512],
  ])("%s of %i bits is made", async (algorithm, length) => {
    const made = await engine.ask("1.4", "Create", payload(algorithm, length));
    expect((await engine.ask("1.4", "Get", made)).objectType).toBe("SymmetricKey");
  });

  test.each([
    ["DES3", 168],
    ["SKIPJACK", 80],
    ["HMAC_MD5", 128],
    ["HMAC_SHA256", 104],
  ])("%s of %i bits is refused, and the answer says why", async (algorithm, length) => {
    const asked = payload(algorithm, length);
    expect(await engine.reason("1.1", "Create", asked)).toBe("InvalidField");
    expect(await engine.reason("2.1", "Create", asked)).toBe("InvalidAttributeValue");
    await expect(engine.ask("2.1", "Create", asked)).rejects.toThrow(
      new RegExp(`${algorithm} keys .*are not approved, and this server runs in FIPS mode`),
    );
    engine = await testEngine();
    expect(await engine.reason("2.1", "Create", asked)).toBeUndefined();
  });

  test("Secret Data is made: it has no algorithm", async () => {
    const attributes = attributeSet({ CryptographicLength: 80 });
    const made = await engine.ask("2.1", "Create", { objectType: "SecretData", attributes });
    expect(made.objectType).toBe("SecretData");
  });
});

describe("Register in FIPS mode", () => {
  function payload(objectType: "SymmetricKey" | "PublicKey", algorithm: string, length: number) {
    const keyMaterial = byteString(tags.KeyMaterial.tag, Buffer.alloc(length / 8, 1));
    const object = objectItem(objectType, {
      keyBlock: {
        keyFormatType: objectType === "PublicKey" ? "PKCS_1" : "Raw",
        keyValue: { keyMaterial },
        cryptographicAlgorithm: algorithm as "AES",
        cryptographicLength: length,
      },
    });
    return { objectType, attributes: attributeSet({ CryptographicUsageMask: 0x0c }), object };
  }

  test.each([
    ["SymmetricKey", "AES", 256],
    ["PublicKey", "RSA", 2048],
    ["PublicKey", "ECDSA", 256],
  ] as const)("a %s for %s of %i bits is stored", async (type, algorithm, length) => {
    const { uniqueIdentifier } = await engine.ask(
      "2.1",
      "Register",
      payload(type, algorithm, length),
    );
    expect((await engine.ask("2.1", "Get", { uniqueIdentifier })).objectType).toBe(type);
  });

  test.each([
    ["SymmetricKey", "ChaCha20", 256, "ChaCha20 keys are not approved"],
    ["SymmetricKey", "DES3", 168, "DES3 keys are not approved"],
    ["PublicKey", "DSA", 2048, "DSA keys are not approved"],
    ["PublicKey", "RSA", 1024, "RSA keys of less than 2048 bits are not approved"],
  ] as const)("a %s for %s of %i bits is refused", async (type, algorithm, length, message) => {
    const asked = payload(type, algorithm, length);
    await expect(engine.ask("2.1", "Register", asked)).rejects.toThrow(
      `${message}, and this server runs in FIPS mode`,
    );
    expect(await engine.reason("1.4", "Register", asked)).toBe("InvalidField");
  });

  test("an Opaque Object and Secret Data are stored as they are", async () => {
    const keyMaterial = byteString(tags.KeyMaterial.tag, Buffer.from("secret"));
    const objects = {
      OpaqueObject: { opaqueDataType: 0x80000001, opaqueDataValue: Uint8Array.of(9) },
      SecretData: {
        secretDataType: "Password",
        keyBlock: { keyFormatType: "Opaque", keyValue: { keyMaterial } },
      },
    } as const;
    const attributes = attributeSet({});
    for (const objectType of ["OpaqueObject", "SecretData"] as const) {
      const object = objectItem(objectType, objects[objectType] as never);
      const asked = { objectType, attributes, object };
      expect(await engine.reason("2.1", "Register", asked)).toBeUndefined();
    }
  });
});
