import {
  type AttributeName,
  type AttributeValue,
  attributeItem,
  attributes,
  attributeValue,
  isVersion1,
  keyBlockOf,
  objectItem,
  objectValue,
  ordinal,
  plainKeyOf,
  type Version,
  versions,
} from "@holdfast/kmip";
import { beforeEach, describe, expect, test } from "vitest";
import type { ManagedObject } from "../record/record.ts";
import { aesKey, attributeSet, named } from "../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

type Given = Parameters<typeof attributeSet>[0];

function create(version: Version, given: Given, objectType = "SymmetricKey") {
  return engine.ask(version, "Create", { objectType, attributes: attributeSet(given) });
}

function refusal(version: Version, given: Given, objectType = "SymmetricKey") {
  return engine.reason(version, "Create", { objectType, attributes: attributeSet(given) });
}

async function stored(id: string): Promise<ManagedObject> {
  const [found] = await engine.store.read("i", [id]);
  if (found === undefined) throw new Error("not stored");
  return found.object;
}

function fixed<N extends AttributeName>(
  object: ManagedObject,
  name: N,
): AttributeValue<N> | undefined {
  const item = object.fixed.find(({ tag }) => tag === attributes[name].tag);
  return item && attributeValue(name, item);
}

function register<N extends AttributeName>(
  object: ManagedObject,
  name: N,
): AttributeValue<N> | undefined {
  const found = object.registers.find(({ tag }) => tag === attributes[name].tag);
  return found?.value && attributeValue(name, found.value);
}

describe("Create", () => {
  test.each(versions)("makes an AES key in KMIP %s", async (version) => {
    const answer = await create(version, {
      CryptographicAlgorithm: "AES",
      CryptographicLength: 256,
    });
    expect(Object.keys(answer)).toEqual(["objectType", "uniqueIdentifier"]);
    expect(answer.objectType).toBe("SymmetricKey");
    expect(answer.uniqueIdentifier).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  });

  test.each([
    ["AES", 128, 16],
    ["AES", 192, 24],
    ["AES", 256, 32],
    ["AES", undefined, 32],
    ["DES3", 112, 16],
    ["DES3", 168, 24],
    ["DES3", undefined, 24],
    ["SKIPJACK", 80, 10],
    ["HMAC_SHA1", undefined, 20],
    ["HMAC_SHA256", 512, 64],
    ["HMAC_SHA512", undefined, 64],
  ] as const)("makes a key for %s of %s bits in %i bytes", async (algorithm, length, bytes) => {
    const { uniqueIdentifier } = await create("1.4", {
      CryptographicAlgorithm: algorithm,
      ...(length === undefined ? {} : { CryptographicLength: length }),
    });
    const { object } = await engine.ask("1.4", "Get", { uniqueIdentifier });
    const block = object && keyBlockOf(object);
    expect(block && plainKeyOf(block)?.length).toBe(bytes);
    expect(block).toMatchObject({ keyFormatType: "Raw", cryptographicAlgorithm: algorithm });
    if (length !== undefined) expect(block?.cryptographicLength).toBe(length);
  });

  test("gives every byte of a 3DES key odd parity", async () => {
    const { uniqueIdentifier } = await create("1.0", { CryptographicAlgorithm: "DES3" });
    const { object } = await engine.ask("1.0", "Get", { uniqueIdentifier });
    const key = plainKeyOf(
      keyBlockOf(object ?? { tag: 0, type: 1, value: [] }) ?? { keyFormatType: "Raw" },
    );
    const ones = [...(key ?? [])].map((byte) => byte.toString(2).replaceAll("0", "").length % 2);
    expect(ones).toEqual(Array(24).fill(1));
  });

  test("makes keys that differ", async () => {
    const keys = new Set<string>();
    for (let count = 0; count < 50; count++) {
      const { uniqueIdentifier } = await create("1.1", { CryptographicAlgorithm: "AES" });
      const { object } = await engine.ask("1.1", "Get", { uniqueIdentifier });
      keys.add(JSON.stringify(object));
    }
    expect(keys.size).toBe(50);
  });

  test.each(["1.4", "2.0", "2.1"] as const)("makes Secret Data in KMIP %s", async (version) => {
    const { uniqueIdentifier, objectType } = await create(
      version,
      { CryptographicLength: 80 },
      "SecretData",
    );
    expect(objectType).toBe("SecretData");
    const { object } = await engine.ask(version, "Get", { uniqueIdentifier });
    const secret = object && objectValue("SecretData", object);
    expect(secret?.secretDataType).toBe("Password");
    expect(secret?.keyBlock.cryptographicAlgorithm).toBeUndefined();
    expect(fixed(await stored(uniqueIdentifier), "CryptographicLength")).toBe(80);
  });

  test("makes the requested format in 2.x", async () => {
    const { uniqueIdentifier } = await create("2.1", {
      CryptographicAlgorithm: "AES",
      KeyFormatType: "TransparentSymmetricKey",
    });
    const object = await stored(uniqueIdentifier);
    expect(fixed(object, "KeyFormatType")).toBe("TransparentSymmetricKey");
    const { attributes: shown } = await engine.ask("2.1", "GetAttributes", {
      uniqueIdentifier,
      references: [{ tag: attributes.Digest.tag, key: "" }],
    });
    expect(shown.map(({ item }) => attributeValue("Digest", item).keyFormatType)).toEqual([
      "TransparentSymmetricKey",
      "Raw",
    ]);
    expect(await refusal("2.1", { CryptographicAlgorithm: "AES", KeyFormatType: "PKCS_1" })).toBe(
      "KeyFormatTypeNotSupported",
    );
  });
});

describe("attributes that the server sets at Create", () => {
  test("include dates and the random number generator", async () => {
    const { uniqueIdentifier } = await engine.ask("2.1", "Create", aesKey());
    const object = await stored(uniqueIdentifier);
    expect(fixed(object, "InitialDate")).toBe(engine.now);
    expect(fixed(object, "OriginalCreationDate")).toBe(engine.now);
    expect(fixed(object, "RandomNumberGenerator")).toEqual({ rngAlgorithm: "Unspecified" });
    expect(fixed(object, "CryptographicAlgorithm")).toBe("AES");
    expect(fixed(object, "CryptographicLength")).toBe(256);
    expect(fixed(object, "Digest")).toBeUndefined();
    expect(object).toMatchObject({ facts: {}, lastChange: engine.now, instance: "i" });
  });

  test("include a usage mask that fits the algorithm if none is given", async () => {
    const masks = { AES: 0x0c, DES3: 0x0c, HMAC_SHA256: 0x180 } as const;
    for (const [CryptographicAlgorithm, mask] of Object.entries(masks)) {
      const { uniqueIdentifier } = await create("1.1", {
        CryptographicAlgorithm: CryptographicAlgorithm as keyof typeof masks,
      });
      expect(register(await stored(uniqueIdentifier), "CryptographicUsageMask")).toBe(mask);
    }
  });

  test("include Always Sensitive for a sensitive key, and Never Extractable for a non-extractable one", async () => {
    const { uniqueIdentifier } = await create("2.1", { Sensitive: true, Extractable: false });
    const object = await stored(uniqueIdentifier);
    expect(register(object, "AlwaysSensitive")).toBe(true);
    expect(register(object, "NeverExtractable")).toBe(true);
    const plain = await stored((await create("2.1", { Sensitive: false })).uniqueIdentifier);
    expect(register(plain, "AlwaysSensitive")).toBeUndefined();
  });

  test.each([
    [-5, "activated"],
    [0, "activated"],
    [5, undefined],
  ] as const)("include the State for an Activation Date %i s from now", async (offset, fact) => {
    const time = engine.now + offset;
    const { uniqueIdentifier } = await create("2.1", { ActivationDate: time });
    const { facts } = await stored(uniqueIdentifier);
    expect(facts).toEqual(fact === undefined ? {} : { [fact]: { time, region: "r" } });
  });

  test("the material is sealed in the record, never in clear", async () => {
    const { uniqueIdentifier } = await engine.ask("1.1", "Create", aesKey());
    const { object } = await engine.ask("1.1", "Get", { uniqueIdentifier });
    const key = object && plainKeyOf(keyBlockOf(object) ?? { keyFormatType: "Raw" });
    const [found] = await engine.store.read("i", [uniqueIdentifier]);
    const bytes = Buffer.from(found?.object.material?.ciphertext ?? []);
    expect(bytes.length).toBeGreaterThan(32);
    expect(bytes.includes(Buffer.from(key ?? []))).toBe(false);
  });
});

describe("Create refuses", () => {
  const many = Array.from({ length: 1001 }, (_, at) => `g${at}`);
  const repeated = (name: "ContactInformation" | "ObjectGroup", values: readonly string[]) => ({
    attributes: [
      ...attributeSet({ CryptographicAlgorithm: "AES" }).attributes,
      ...values.flatMap((value) => attributeSet({ [name]: value }).attributes),
    ],
    templateNames: [],
  });

  test.each<[string, object, string, string]>([
    [
      "a length that AES does not have",
      { CryptographicAlgorithm: "AES", CryptographicLength: 100 },
      "InvalidField",
      "InvalidAttributeValue",
    ],
    [
      "a length that is not a whole byte",
      { CryptographicAlgorithm: "HMAC_SHA1", CryptographicLength: 81 },
      "InvalidField",
      "InvalidAttributeValue",
    ],
    [
      "an absurd length",
      { CryptographicAlgorithm: "HMAC_SHA1", CryptographicLength: 1 << 30 },
      "InvalidField",
      "InvalidAttributeValue",
    ],
    [
      "a negative length",
      { CryptographicAlgorithm: "HMAC_SHA1", CryptographicLength: -8 },
      "InvalidField",
      "InvalidAttributeValue",
    ],
    [
      "an algorithm that is not symmetric",
      { CryptographicAlgorithm: "RSA", CryptographicLength: 2048 },
      "InvalidField",
      "InvalidAttributeValue",
    ],
    ["the State", { State: "Active" }, "InvalidField", "AttributeReadOnly"],
    ["an identifier", { UniqueIdentifier: "mine" }, "InvalidField", "AttributeReadOnly"],
    ["an Initial Date", { InitialDate: 1 }, "InvalidField", "AttributeReadOnly"],
    ["a Destroy Date", { DestroyDate: 1 }, "InvalidField", "AttributeReadOnly"],
    ["a Lease Time", { LeaseTime: 1 }, "InvalidField", "AttributeReadOnly"],
    ["a Digest", { Digest: { hashingAlgorithm: "SHA_256" } }, "InvalidField", "AttributeReadOnly"],
    ["a certificate's attribute", { CertificateType: "X_509" }, "InvalidField", "InvalidAttribute"],
    [
      "an attribute of the server's vendor",
      {
        VendorAttribute: {
          vendorIdentification: "y",
          name: "n",
          value: { tag: 0x42000b, type: 7, value: "v" },
        },
      },
      "InvalidField",
      "AttributeReadOnly",
    ],
    [
      "an Application Namespace without data",
      { ApplicationSpecificInformation: { namespace: "ssl" } },
      "ApplicationNamespaceNotSupported",
      "ApplicationNamespaceNotSupported",
    ],
    [
      "processing before activation",
      { ActivationDate: 100, ProcessStartDate: 99 },
      "InvalidField",
      "InvalidAttributeValue",
    ],
    [
      "protection after deactivation",
      { ProtectStopDate: 101, DeactivationDate: 100 },
      "InvalidField",
      "InvalidAttributeValue",
    ],
  ])("%s", async (_name, given, v1, v2) => {
    expect(await refusal("1.4", { CryptographicAlgorithm: "AES", ...given })).toBe(v1);
    expect(await refusal("2.1", given)).toBe(v2);
    expect(
      (await engine.store.find("i", { live: true, destroyed: true, limit: 9 })).objects,
    ).toEqual([]);
  });

  test("two values of a single-valued attribute", async () => {
    const attributes = repeated("ContactInformation", ["a", "b"]);
    const payload = { objectType: "SymmetricKey", attributes };
    expect(await engine.reason("1.4", "Create", payload)).toBe("InvalidField");
    expect(await engine.reason("2.1", "Create", payload)).toBe("AttributeSingleValued");
  });

  test("more values than an object can hold, where a repeated value counts once", async () => {
    const payload = (values: readonly string[]) => ({
      objectType: "SymmetricKey",
      attributes: repeated("ObjectGroup", values),
    });
    expect(await engine.reason("1.4", "Create", payload(many))).toBe("IndexOutOfBounds");
    expect(await engine.reason("2.1", "Create", payload(many))).toBe("ServerLimitExceeded");
    const { uniqueIdentifier } = await engine.ask("2.1", "Create", payload(["g", "h", "g"]));
    const groups = (await stored(uniqueIdentifier)).registers.filter(
      ({ tag }) => tag === attributes.ObjectGroup.tag,
    );
    expect(groups.map(({ index, origin }) => [index, origin])).toEqual([
      [0, ""],
      [1, ""],
    ]);
  });

  test("a Name that a live object has, but not that of a destroyed one", async () => {
    const key = aesKey({ Name: named("n") });
    const { uniqueIdentifier } = await engine.ask("1.1", "Create", key);
    expect(await engine.reason("1.1", "Create", key)).toBe("InvalidField");
    expect(await engine.reason("2.1", "Create", key)).toBe("NonUniqueNameAttribute");
    await engine.ask("1.1", "Destroy", { uniqueIdentifier });
    expect(await engine.reason("2.1", "Create", key)).toBeUndefined();
  });

  test.each(versions)("a Name twice with different types, in KMIP %s", async (version) => {
    const [plain, uri] = [named("n"), { value: "n", type: "URI" } as const];
    const key = (...names: readonly (typeof plain)[]) => {
      const given = names.map((name) => ({ item: attributeItem("Name", name) }));
      const { objectType, attributes } = aesKey();
      const all = [...attributes.attributes, ...given];
      return { objectType, attributes: { ...attributes, attributes: all } };
    };
    const reason = isVersion1(version) ? "InvalidField" : "NonUniqueNameAttribute";
    expect(await engine.reason(version, "Create", key(plain, uri))).toBe(reason);
    expect(await engine.reason(version, "Create", key(plain, plain))).toBeUndefined();
  });

  test.each(versions)("a key without an algorithm, if KMIP %s is 1.x", async (version) => {
    const given = { CryptographicLength: 128, CryptographicUsageMask: 0x0c };
    expect(await refusal(version, given)).toBe(isVersion1(version) ? "InvalidField" : undefined);
  });

  test.each(versions)("object types that it cannot make in KMIP %s", async (version) => {
    const reason = isVersion1(version) ? "InvalidField" : "InvalidObjectType";
    for (const type of ["PublicKey", "PrivateKey", "Certificate", "OpaqueObject", "SplitKey"]) {
      expect(await refusal(version, {}, type)).toBe(reason);
    }
    const secret = await refusal(version, {}, "SecretData");
    expect(secret).toBe(ordinal(version) < ordinal("1.4") ? reason : undefined);
  });

  test.each([
    [[], undefined],
    [[1], undefined],
    [[2, 1], undefined],
    [[2], "ProtectionStorageUnavailable"],
    [[3, 4], "ProtectionStorageUnavailable"],
  ] as const)("storage masks %j unless software protection is enough", async (masks, reason) => {
    const payload = { ...aesKey(), protectionStorageMasks: { masks } };
    expect(await engine.reason("2.1", "Create", payload)).toBe(reason);
  });
});

describe("Templates", () => {
  const template = (name: string, given: Given) => ({
    objectType: "Template",
    attributes: attributeSet({ Name: named(name) }),
    object: { tag: 0x420090, type: 1, value: [] },
    given,
  });

  async function registerTemplate(name: string, given: Given): Promise<void> {
    const object = objectItem("Template", { attributes: attributeSet(given).attributes });
    await engine.ask("1.2", "Register", { ...template(name, given), object });
  }

  test("set single values by the last one, or the request, and multiple values by all", async () => {
    await registerTemplate("t1", {
      CryptographicAlgorithm: "AES",
      CryptographicLength: 128,
      ContactInformation: "t1",
      ObjectGroup: "g1",
    });
    await registerTemplate("t2", {
      CryptographicLength: 192,
      ContactInformation: "t2",
      ObjectGroup: "g2",
    });
    const { attributes: own } = attributeSet({ ContactInformation: "request", ObjectGroup: "g3" });
    const { uniqueIdentifier } = await engine.ask("1.2", "Create", {
      objectType: "SymmetricKey",
      attributes: { attributes: own, templateNames: ["t1", "t2"] },
    });
    const object = await stored(uniqueIdentifier);
    expect(fixed(object, "CryptographicLength")).toBe(192);
    expect(register(object, "ContactInformation")).toBe("request");
    expect(register(object, "Name")).toBeUndefined();
    const groups = object.registers.filter(({ tag }) => tag === attributes.ObjectGroup.tag);
    expect(groups.map(({ value }) => value?.value)).toEqual(["g1", "g2", "g3"]);
  });

  test("do not give millions of attributes for thousands of names of a large one", async () => {
    const groups = Array.from({ length: 4000 }, (_, at) => `g${at}`);
    const object = objectItem("Template", {
      attributes: groups.flatMap((group) => attributeSet({ ObjectGroup: group }).attributes),
    });
    await engine.ask("1.2", "Register", { ...template("large", {}), object });
    const { attributes: own } = aesKey().attributes;
    const reason = await engine.reason("1.2", "Create", {
      objectType: "SymmetricKey",
      attributes: { attributes: own, templateNames: Array.from({ length: 3000 }, () => "large") },
    });
    expect(reason).toBe("IndexOutOfBounds");
  });

  test("are refused if they do not exist, were destroyed or are not Templates", async () => {
    await engine.ask("1.2", "Create", aesKey({ Name: named("a key") }));
    for (const name of ["nothing", "a key"]) {
      const attributes = { attributes: [], templateNames: [name] };
      expect(await engine.reason("1.2", "Create", { objectType: "SymmetricKey", attributes })).toBe(
        "ItemNotFound",
      );
    }
  });
});
