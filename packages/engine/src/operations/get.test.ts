import {
  isVersion1,
  type KeyBlock,
  keyBlockOf,
  objectItem,
  plainKeyOf,
  tags,
  versions,
} from "@holdfast/kmip";
import { byteString, enumeration, structure } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import type { StoredObject } from "../ports/objects.ts";
import type { ManagedObject } from "../record/record.ts";
import { aesKey, attributeSet } from "../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";

let engine: TestEngine;
type Opens = (object: ManagedObject) => Promise<boolean>;

beforeEach(async () => {
  engine = await testEngine();
});

const key = Uint8Array.from({ length: 16 }, (_, at) => at);
const keyMaterial = byteString(0x420043, key);
const aes = { cryptographicAlgorithm: "AES", cryptographicLength: 128 } as const;
const raw: KeyBlock = { keyFormatType: "Raw", keyValue: { keyMaterial }, ...aes };
const transparent: KeyBlock = {
  keyFormatType: "TransparentSymmetricKey",
  keyValue: { keyMaterial: structure(0x420043, [byteString(0x42003f, key)]) },
  ...aes,
};
const wrapped: KeyBlock = {
  keyFormatType: "Raw",
  keyValue: key,
  ...aes,
  keyWrappingData: { wrappingMethod: "Encrypt" },
};

type Given = Parameters<typeof attributeSet>[0];

async function registered(keyBlock: KeyBlock, given: Given = {}): Promise<string> {
  const object = objectItem("SymmetricKey", { keyBlock });
  const request = { objectType: "SymmetricKey", attributes: attributeSet(given), object };
  return (await engine.ask("2.1", "Register", request)).uniqueIdentifier;
}

async function block(uniqueIdentifier: string, asked: object = {}): Promise<KeyBlock | undefined> {
  const { object } = await engine.ask("2.1", "Get", { uniqueIdentifier, ...asked });
  return object && keyBlockOf(object);
}

test("a key without its value is not returned before 1.2, where every key has one", async () => {
  const uniqueIdentifier = await registered({ keyFormatType: "Raw", ...aes });
  for (const version of versions) {
    const expected = ["1.0", "1.1"].includes(version) ? "IllegalOperation" : undefined;
    expect(await engine.reason(version, "Get", { uniqueIdentifier })).toBe(expected);
  }
});

describe("key formats", () => {
  test.each([
    ["a Raw key", raw, undefined, "Raw"],
    ["a Raw key", raw, "Raw", "Raw"],
    ["a Raw key", raw, "TransparentSymmetricKey", "TransparentSymmetricKey"],
    ["a transparent key", transparent, undefined, "TransparentSymmetricKey"],
    ["a transparent key", transparent, "Raw", "Raw"],
    ["a wrapped key", wrapped, "Raw", "Raw"],
  ] as const)("%s is returned (case %#)", async (_name, keyBlock, keyFormatType, expected) => {
    const uniqueIdentifier = await registered(keyBlock);
    const got = await block(uniqueIdentifier, keyFormatType === undefined ? {} : { keyFormatType });
    expect(got?.keyFormatType).toBe(expected);
    if (keyBlock === wrapped) expect(got?.keyValue).toEqual(key);
    else expect(got && plainKeyOf(got)).toEqual(key);
    expect(got).toMatchObject(aes);
  });

  test.each([
    [raw, { keyFormatType: "PKCS_8" }],
    [wrapped, { keyFormatType: "TransparentSymmetricKey" }],
  ] as const)("a format that cannot be made is refused", async (keyBlock, asked) => {
    const uniqueIdentifier = await registered(keyBlock);
    for (const version of versions) {
      expect(await engine.reason(version, "Get", { uniqueIdentifier, ...asked })).toBe(
        "KeyFormatTypeNotSupported",
      );
    }
  });

  test("a secret can be returned as Raw and as Opaque", async () => {
    const { uniqueIdentifier } = await engine.ask("2.1", "Create", {
      objectType: "SecretData",
      attributes: attributeSet({}),
    });
    expect((await block(uniqueIdentifier))?.keyFormatType).toBe("Opaque");
    expect((await block(uniqueIdentifier, { keyFormatType: "Raw" }))?.keyFormatType).toBe("Raw");
  });

  test("an opaque object is returned as Opaque, and in no other format", async () => {
    const object = objectItem("OpaqueObject", { opaqueDataType: 0x80000001, opaqueDataValue: key });
    const request = { objectType: "OpaqueObject", attributes: attributeSet({}), object };
    const answer = await engine.ask("1.4", "Register", request);
    expect(
      await engine.reason("1.4", "Get", { ...answer, keyFormatType: "Opaque" }),
    ).toBeUndefined();
    expect(await engine.reason("1.4", "Get", { ...answer, keyFormatType: "Raw" })).toBe(
      "KeyFormatTypeNotSupported",
    );
  });
});

const wrapping = { keyWrappingSpecification: { wrappingMethod: "Encrypt", attributeNames: [] } };

describe("further fields of a Get request", () => {
  const unwrapped = { keyWrapType: "NotWrapped" };
  const asRegistered = { keyWrapType: "AsRegistered" };
  const uncompressed = { keyCompressionType: "ECPublicKeyTypeUncompressed" };

  test.each([
    ["a plain key, not wrapped", raw, unwrapped, undefined],
    ["a plain key, as registered", raw, asRegistered, undefined],
    ["a wrapped key, as registered", wrapped, asRegistered, undefined],
    ["a wrapped key, not wrapped", wrapped, unwrapped, "KeyWrapTypeNotSupported"],
    [
      "compression of a key that is not public",
      raw,
      uncompressed,
      "KeyCompressionTypeNotSupported",
    ],
    ["wrapping by the server", raw, wrapping, "FeatureNotSupported"],
  ])("are accepted or refused: %s", async (_name, keyBlock, asked, reason) => {
    const uniqueIdentifier = await registered(keyBlock);
    expect(await engine.reason("2.1", "Get", { uniqueIdentifier, ...asked })).toBe(reason);
  });
});

describe("objects that Get does not return", () => {
  test.each(["1.4", "2.0", "2.1"] as const)(
    "KMIP %s: sensitive and not extractable keys",
    async (version) => {
      const sensitive = await registered(raw, { Sensitive: true });
      const kept = await registered(raw, { Extractable: false });
      const both = await registered(wrapped, { Sensitive: true });
      expect(await engine.reason(version, "Get", { uniqueIdentifier: sensitive })).toBe(
        "Sensitive",
      );
      for (const asked of [{}, wrapping]) {
        const request = { uniqueIdentifier: kept, ...asked };
        expect(await engine.reason(version, "Get", request)).toBe("NotExtractable");
      }
      expect(await engine.reason(version, "Get", { uniqueIdentifier: both })).toBeUndefined();
    },
  );

  test.each(versions)("KMIP %s: a destroyed object, and an unknown identifier", async (version) => {
    const uniqueIdentifier = await registered(raw);
    await engine.ask(version, "Destroy", { uniqueIdentifier });
    expect(await engine.reason(version, "Get", { uniqueIdentifier })).toBe(
      isVersion1(version) ? "ItemNotFound" : "ObjectDestroyed",
    );
    expect(await engine.reason(version, "Get", { uniqueIdentifier: "?" })).toBe(
      isVersion1(version) ? "ItemNotFound" : "ObjectNotFound",
    );
  });

  test("an object of a type that the version lacks", async () => {
    const object = objectItem("Template", {
      attributes: attributeSet({ ObjectGroup: "g" }).attributes,
    });
    const request = { objectType: "Template", attributes: attributeSet({}), object };
    const answer = await engine.ask("1.4", "Register", request);
    expect(await engine.reason("2.1", "Get", answer)).toBe("InvalidObjectType");
  });

  test('altered material gives "cannot tell" if no other copy opens, and none of it is shown', async () => {
    const { uniqueIdentifier } = await engine.ask("1.1", "Create", aesKey());
    const [found] = await engine.store.read("i", [uniqueIdentifier]);
    if (found?.object.material === undefined) throw new Error("not stored");
    const ciphertext = Uint8Array.from(found.object.material.ciphertext, (byte) => byte ^ 1);
    const object = { ...found.object, material: { ...found.object.material, ciphertext } };
    engine.store.read = async () => [{ ...found, object }];
    const { items } = await engine.send("1.1", [["Get", { uniqueIdentifier }]]);
    expect(items).toMatchObject([
      {
        reason: "GeneralFailure",
        message: expect.stringMatching(/^cannot tell: the stored material/),
      },
    ]);
  });

  test("altered material is replaced by another copy that opens", async () => {
    const { uniqueIdentifier } = await engine.ask("1.1", "Create", aesKey());
    const sound = await engine.ask("1.1", "Get", { uniqueIdentifier });
    const [found] = await engine.store.read("i", [uniqueIdentifier]);
    if (found?.object.material === undefined) throw new Error("not stored");
    const { material } = found.object;
    const altered = [
      { ...material, ciphertext: material.ciphertext.map((byte) => byte ^ 1) },
      { ...material, nonce: material.nonce.map((byte) => byte ^ 1) },
      { ...material, kekId: "0f8fad5b-d9cb-469f-a165-70867728950e" },
    ];
    for (const each of altered) {
      const broken = { ...found, object: { ...found.object, material: each } };
      engine.store.read = async () => [broken];
      const asked: boolean[] = [];
      Object.assign(engine.store, {
        heal: async (_: string, stored: StoredObject, opens: Opens) => {
          asked.push(await opens(stored.object), await opens(found.object));
          return found;
        },
      });
      expect(await engine.ask("1.1", "Get", { uniqueIdentifier })).toEqual(sound);
      expect(asked).toEqual([false, true]);
    }
  });
});

describe("Fresh", () => {
  const served = async (id: string) => (await engine.store.read("i", [id]))[0]?.object.facts.served;

  test("changes with the first Get, and later ones leave it", async () => {
    const { uniqueIdentifier } = await engine.ask("1.1", "Create", aesKey());
    expect(await served(uniqueIdentifier)).toBeUndefined();
    const first = engine.now;
    await engine.ask("1.1", "Get", { uniqueIdentifier });
    engine.now += 100;
    await engine.ask("1.1", "Get", { uniqueIdentifier });
    expect(await served(uniqueIdentifier)).toEqual({ time: first, region: "r" });
  });

  test("does not change with a refused Get", async () => {
    const uniqueIdentifier = await registered(raw, { Sensitive: true });
    await engine.reason("2.1", "Get", { uniqueIdentifier });
    expect(await served(uniqueIdentifier)).toBeUndefined();
  });

  test("does not fail a Get that loses the race or cannot note it", async () => {
    const { uniqueIdentifier } = await engine.ask("1.1", "Create", aesKey());
    engine.store.markServed = async () => false;
    const { object } = await engine.ask("1.1", "Get", { uniqueIdentifier });
    expect(object).toBeDefined();
  });
});

test("a key that the version cannot express fails its own item, and is reported to the observer", async () => {
  const keyMaterial = structure(0x420043, [
    enumeration(tags.RecommendedCurve.tag, 7),
    byteString(tags.QString.tag, new Uint8Array(65)),
  ]);
  const keyBlock = {
    keyFormatType: "TransparentECPublicKey",
    keyValue: { keyMaterial },
    cryptographicAlgorithm: "EC",
    cryptographicLength: 256,
  } as const;
  const object = objectItem("PublicKey", { keyBlock });
  const request = { objectType: "PublicKey", attributes: attributeSet({}), object };
  const { uniqueIdentifier } = await engine.ask("2.1", "Register", request);
  const { items } = await engine.send("1.0", [["Get", { uniqueIdentifier }]]);
  expect(items).toMatchObject([{ operation: "Get", reason: "KeyFormatTypeNotSupported" }]);
  expect(engine.events.at(-1)).toMatchObject({ result: "KeyFormatTypeNotSupported" });
});
