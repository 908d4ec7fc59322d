import { createHash, generateKeyPairSync } from "node:crypto";
import {
  type AttributeName,
  type AttributeValue,
  attributeItem,
  attributes,
  attributeValue,
  decodeResponse,
  encodeRequest,
  isVersion1,
  type ObjectTypeName,
  objectItem,
  objectTypesOf,
  type Request,
  versions,
} from "@holdfast/kmip";
import { byteString, decode, defaultLimits, encode, type Item, structure } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import { withoutSealedDigest } from "../material/object-digest.ts";
import type { ManagedObject } from "../record/record.ts";
import { encodeRecord } from "../record/record-codec.ts";
import { attributeSet, named } from "../testing/test-attributes.ts";
import { nameDer, rsaWithExponent, testCertificate } from "../testing/test-certificate.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

type Given = Parameters<typeof attributeSet>[0];

const key16 = Buffer.from("00112233445566778899aabbccddeeff", "hex");
const material = (bytes: Uint8Array) => ({ keyMaterial: byteString(0x420043, bytes) });
const aes = { cryptographicAlgorithm: "AES", cryptographicLength: 128 } as const;
const rawAes = { keyFormatType: "Raw", keyValue: material(key16), ...aes } as const;
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const pkcs1 = rsa.privateKey.export({ format: "der", type: "pkcs1" });
const spki = rsa.publicKey.export({ format: "der", type: "spki" });
const name = nameDer([["2.5.4.3", "c"]]);
const certificate = testCertificate({
  issuer: name,
  subject: name,
  serialNumber: Buffer.from([7]),
});

/** One object of every type. */
const samples: Readonly<Record<ObjectTypeName, Item>> = {
  SymmetricKey: objectItem("SymmetricKey", { keyBlock: rawAes }),
  PublicKey: objectItem("PublicKey", {
    keyBlock: { keyFormatType: "X_509", keyValue: material(spki) },
  }),
  PrivateKey: objectItem("PrivateKey", {
    keyBlock: { keyFormatType: "PKCS_1", keyValue: material(pkcs1) },
  }),
  SplitKey: objectItem("SplitKey", {
    splitKeyParts: 3,
    keyPartIdentifier: 1,
    splitKeyThreshold: 2,
    splitKeyMethod: "XOR",
    keyBlock: rawAes,
  }),
  Certificate: objectItem("Certificate", {
    certificateType: "X_509",
    certificateValue: certificate,
  }),
  CertificateRequest: objectItem("CertificateRequest", {
    certificateRequestType: "PKCS_10",
    certificateRequestValue: Uint8Array.of(1, 2, 3),
  }),
  SecretData: objectItem("SecretData", {
    secretDataType: "Password",
    keyBlock: { keyFormatType: "Opaque", keyValue: material(Buffer.from("secret")) },
  }),
  OpaqueObject: objectItem("OpaqueObject", {
    opaqueDataType: 0x80000001,
    opaqueDataValue: Uint8Array.of(9, 9),
  }),
  PGPKey: objectItem("PGPKey", { pgpKeyVersion: 4, keyBlock: rawAes }),
  Template: objectItem("Template", { attributes: attributeSet({ ObjectGroup: "g" }).attributes }),
};

function payload(objectType: ObjectTypeName, given: Given = {}, object = samples[objectType]) {
  return { objectType, attributes: attributeSet(given), object };
}

async function stored(id: string): Promise<ManagedObject> {
  const [found] = await engine.store.read("i", [id]);
  if (found === undefined) throw new Error("not stored");
  return found.object;
}

async function registered(...given: Parameters<typeof payload>): Promise<ManagedObject> {
  return stored((await engine.ask("2.1", "Register", payload(...given))).uniqueIdentifier);
}

function all<N extends AttributeName>(object: ManagedObject, named: N): AttributeValue<N>[] {
  return [...object.fixed, ...object.registers.flatMap(({ value }) => value ?? [])].flatMap(
    (item) => (item.tag === attributes[named].tag ? [attributeValue(named, item)] : []),
  );
}

/** The Digest attributes as a client sees them. */
async function digests({ uniqueIdentifier }: ManagedObject): Promise<AttributeValue<"Digest">[]> {
  const references = [{ tag: attributes.Digest.tag, key: "" }];
  const answer = await engine.ask("2.1", "GetAttributes", { uniqueIdentifier, references });
  return answer.attributes.map(({ item }) => attributeValue("Digest", item));
}

const wire = (item: Item | undefined) => item && Buffer.from(encode(item)).toString("hex");
const sha256 = (bytes: Uint8Array) => Uint8Array.from(createHash("sha256").update(bytes).digest());

describe.each(versions)("KMIP %s", (version) => {
  test.each(objectTypesOf(version))("%s is stored and returned unchanged", async (type) => {
    const answer = await engine.ask(version, "Register", payload(type));
    expect(Object.keys(answer)).toEqual(["uniqueIdentifier"]);
    const got = await engine.ask(version, "Get", answer);
    expect(got.objectType).toBe(type);
    expect(wire(got.object)).toBe(wire(samples[type]));
    const filter = [{ item: attributeItem("ObjectType", type) }];
    expect(await engine.ask(version, "Locate", { attributes: filter })).toMatchObject({
      uniqueIdentifiers: [answer.uniqueIdentifier],
    });
    await engine.ask(version, "Destroy", answer);
    expect(await engine.reason(version, "Get", answer)).toBe(
      isVersion1(version) ? "ItemNotFound" : "ObjectDestroyed",
    );
  });
});

describe("attributes that the server reads from a registered object", () => {
  test("the digest of a Raw key is that of its bytes", async () => {
    expect(await digests(await registered("SymmetricKey"))).toEqual([
      { hashingAlgorithm: "SHA_256", digestValue: sha256(key16), keyFormatType: "Raw" },
    ]);
  });

  test("the digest of a transparent key is that of its encoded Key Material, and of its bytes", async () => {
    const bytes = Buffer.from(
      "0000111122223333444455556666777788889999aaaabbbbccccddddeeeeffff",
      "hex",
    );
    const keyMaterial = structure(0x420043, [byteString(0x42003f, bytes)]);
    const object = objectItem("SymmetricKey", {
      keyBlock: {
        keyFormatType: "TransparentSymmetricKey",
        keyValue: { keyMaterial },
        cryptographicAlgorithm: "AES",
        cryptographicLength: 256,
      },
    });
    const found = await digests(await registered("SymmetricKey", {}, object));
    expect(found.map(({ digestValue }) => Buffer.from(digestValue ?? []).toString("hex"))).toEqual([
      "499ce96ff6f5e19fe9fe7a2fe4c3e92b88db0001a4e8df28d9966856b6c4b87c",
      "6c064fe051add11edc07727b594eb48711df843e08445bba2cd786bc16bc58e8",
    ]);
  });

  test.each<[ObjectTypeName, number]>([
    ["SymmetricKey", 0],
    ["PrivateKey", 0],
    ["SecretData", 0],
    ["OpaqueObject", 0],
    ["PublicKey", 1],
    ["Certificate", 1],
    ["CertificateRequest", 1],
  ])(
    "%s: %i of its digests are in clear in its record, and each is returned and found",
    async (type, kept) => {
      const object = await registered(type);
      expect(all(object, "Digest")).toHaveLength(kept);
      const [digest, ...more] = await digests(object);
      expect([digest?.hashingAlgorithm, more]).toEqual(["SHA_256", []]);
      const { uniqueIdentifier } = object;
      const { references } = await engine.ask("2.1", "GetAttributeList", { uniqueIdentifier });
      expect(references).toContainEqual({ tag: attributes.Digest.tag, key: "" });
      const filter = (digestValue: Uint8Array) => ({
        attributes: [
          { item: attributeItem("Digest", { hashingAlgorithm: "SHA_256", digestValue }) },
        ],
      });
      const found = await engine.ask("2.1", "Locate", filter(digest?.digestValue ?? key16));
      expect(found.uniqueIdentifiers).toEqual([uniqueIdentifier]);
      expect((await engine.ask("2.1", "Locate", filter(key16))).uniqueIdentifiers).toEqual([]);
      expect(
        Buffer.from(encodeRecord(object)).includes(Buffer.from(digest?.digestValue ?? key16)),
      ).toBe(kept > 0);
      // A destroyed object still has its Digest (OASIS SKLC-O-1).
      await engine.ask("2.1", "Destroy", { uniqueIdentifier });
      expect(await digests(object)).toEqual([digest]);
      // A client may state the Digest of what it registers, if it is correct.
      const said = (value: AttributeValue<"Digest">) => payload(type, { Digest: value });
      if (digest === undefined) throw new Error("no digest");
      await engine.ask("2.1", "Register", said(digest));
      expect(await engine.reason("2.1", "Register", said({ ...digest, digestValue: key16 }))).toBe(
        "AttributeReadOnly",
      );
    },
  );

  test("an object without a sealed digest, as a restore into a new instance leaves it, has one while it has material", async () => {
    const object = await registered("SecretData");
    const wanted = await digests(object);
    expect(wanted).toHaveLength(1);
    const [before] = await engine.store.read("i", [object.uniqueIdentifier]);
    if (before === undefined) throw new Error("not stored");
    const after = { ...object, fixed: withoutSealedDigest(object.fixed) };
    await engine.store.commit("i", [{ kind: "update", before, after }], [], { joined: true });
    expect(await digests(object)).toEqual(wanted);
    await engine.ask("2.1", "Destroy", { uniqueIdentifier: object.uniqueIdentifier });
    expect(await digests(object)).toEqual([]);
  });

  test("while the root of trust refuses, a Digest is absent among all attributes and refused by name", async () => {
    const { uniqueIdentifier } = await registered("SecretData");
    engine.root.fail("denied");
    engine.keyRing.drop();
    const list = await engine.ask("2.1", "GetAttributeList", { uniqueIdentifier });
    const names = list.references.map(({ tag }) => tag);
    expect(names).toContain(attributes.State.tag);
    expect(names).not.toContain(attributes.Digest.tag);
    const references = [{ tag: attributes.Digest.tag, key: "" }];
    expect(await engine.reason("2.1", "GetAttributes", { uniqueIdentifier, references })).toBe(
      "PermissionDenied",
    );
  });

  test.each<[ObjectTypeName, AttributeName, readonly unknown[]]>([
    ["SymmetricKey", "CryptographicAlgorithm", ["AES"]],
    ["SymmetricKey", "CryptographicLength", [128]],
    ["SymmetricKey", "KeyFormatType", ["Raw"]],
    ["SymmetricKey", "KeyValuePresent", []],
    ["SymmetricKey", "OriginalCreationDate", []],
    ["SymmetricKey", "RandomNumberGenerator", []],
    ["PublicKey", "CryptographicAlgorithm", ["RSA"]],
    ["PublicKey", "CryptographicLength", [2048]],
    ["PrivateKey", "CryptographicAlgorithm", ["RSA"]],
    ["PrivateKey", "CryptographicLength", [2048]],
    ["PrivateKey", "KeyFormatType", ["PKCS_1"]],
    ["SecretData", "CryptographicLength", [48]],
    ["SecretData", "CryptographicAlgorithm", []],
    ["Certificate", "CertificateType", ["X_509"]],
    ["Certificate", "CertificateLength", [certificate.length]],
    ["Certificate", "CryptographicLength", [2048]],
    ["Certificate", "KeyFormatType", ["Raw"]],
    ["OpaqueObject", "OpaqueDataType", [0x80000001]],
    ["CertificateRequest", "KeyFormatType", ["PKCS_10"]],
  ])("%s: %s", async (type, attribute, values) => {
    const object = await registered(type);
    expect(all(object, attribute)).toEqual(values);
    expect(all(object, "InitialDate")).toEqual([engine.now]);
  });

  test("a key without its value is marked so, and its structure is kept", async () => {
    const object = objectItem("SymmetricKey", { keyBlock: { keyFormatType: "Raw", ...aes } });
    const location = { value: "elsewhere", type: "UninterpretedTextString" } as const;
    const kept = await registered("SymmetricKey", { KeyValueLocation: location }, object);
    expect(all(kept, "KeyValuePresent")).toEqual([false]);
    expect(await digests(kept)).toEqual([]);
    expect(all(kept, "KeyValueLocation")).toEqual([location]);
    const { uniqueIdentifier } = kept;
    const got = await engine.ask("2.1", "Get", { uniqueIdentifier });
    expect(wire(got.object)).toBe(wire(object));
    expect(await engine.reason("1.1", "Register", payload("SymmetricKey", {}, object))).toBe(
      "InvalidMessage",
    );
  });

  test("a wrapped key has no digest and is linked to what wraps it", async () => {
    const keyWrappingData = {
      wrappingMethod: "Encrypt",
      encryptionKeyInformation: { uniqueIdentifier: "wrapping-key" },
    } as const;
    const object = objectItem("SymmetricKey", {
      keyBlock: { keyFormatType: "Raw", keyValue: key16, ...aes, keyWrappingData },
    });
    const kept = await registered("SymmetricKey", {}, object);
    expect(await digests(kept)).toEqual([]);
    expect(all(kept, "Link")).toEqual([
      { type: "WrappingKeyLink", linkedObjectIdentifier: "wrapping-key" },
    ]);
  });

  test("a client can state the age and the generator of its key, and whether it is Fresh", async () => {
    const rng = { rngAlgorithm: "FIPS186_2" } as const;
    const kept = await registered("SymmetricKey", {
      OriginalCreationDate: 1000,
      RandomNumberGenerator: rng,
      Fresh: true,
    });
    expect(all(kept, "OriginalCreationDate")).toEqual([1000]);
    expect(all(kept, "RandomNumberGenerator")).toEqual([rng]);
    expect(kept.facts.served).toBeUndefined();
    const served = await registered("SymmetricKey", { Fresh: false });
    expect(served.facts.served).toEqual({ time: engine.now, region: "r" });
  });

  test("a Link may refer to an object of the batch", async () => {
    const { items } = await engine.send("2.1", [
      ["Register", payload("PublicKey")],
      [
        "Register",
        payload("PrivateKey", {
          Link: { type: "PublicKeyLink", linkedObjectIdentifier: { special: "IDPlaceholder" } },
        }),
      ],
    ]);
    const ids = items.map(({ payload: answer }) => (answer as Request<"Get">).uniqueIdentifier);
    const kept = await stored(String(ids[1]));
    expect(all(kept, "Link")).toEqual([{ type: "PublicKeyLink", linkedObjectIdentifier: ids[0] }]);
  });
});

describe("Register refuses", () => {
  const other = { keyFormatType: "Raw", keyValue: material(key16) } as const;

  test.each<[string, ReturnType<typeof payload>, string, string]>([
    [
      "an object of another type",
      payload("SymmetricKey", {}, samples.SecretData),
      "InvalidField",
      "InvalidObjectType",
    ],
    [
      "an algorithm that is not the Key Block's",
      payload("SymmetricKey", { CryptographicAlgorithm: "DES3" }),
      "InvalidField",
      "InvalidAttributeValue",
    ],
    [
      "a length that is not the Key Block's",
      payload("SymmetricKey", { CryptographicLength: 256 }),
      "InvalidField",
      "InvalidAttributeValue",
    ],
    [
      "a length that is not the key's",
      payload(
        "SymmetricKey",
        { CryptographicLength: 256, CryptographicAlgorithm: "AES" },
        objectItem("SymmetricKey", { keyBlock: other }),
      ),
      "InvalidField",
      "InvalidAttributeValue",
    ],
    [
      "a key without algorithm and length",
      payload("SymmetricKey", {}, objectItem("SymmetricKey", { keyBlock: other })),
      "InvalidMessage",
      "InvalidMessage",
    ],
    [
      "a malformed certificate",
      payload(
        "Certificate",
        {},
        objectItem("Certificate", { certificateType: "X_509", certificateValue: key16 }),
      ),
      "InvalidField",
      "InvalidField",
    ],
    [
      "another certificate type",
      payload("Certificate", { CertificateType: "PGP" }),
      "InvalidField",
      "InvalidAttributeValue",
    ],
    [
      "a wrong certificate length",
      payload("Certificate", { CertificateLength: 1 }),
      "InvalidField",
      "AttributeReadOnly",
    ],
    [
      "the State",
      payload("SymmetricKey", { State: "Active" }),
      "InvalidField",
      "AttributeReadOnly",
    ],
    [
      "Key Value Present",
      payload("SymmetricKey", { KeyValuePresent: true }),
      "InvalidField",
      "AttributeReadOnly",
    ],
  ])("%s", async (_name, request, v1, v2) => {
    expect(await engine.reason("1.4", "Register", request)).toBe(v1);
    expect(await engine.reason("2.1", "Register", request)).toBe(v2);
    const page = await engine.store.find("i", { live: true, destroyed: true, limit: 9 });
    expect(page.objects).toEqual([]);
  });

  test("a request without an object", async () => {
    const { object: _, ...request } = payload("SymmetricKey");
    expect(await engine.reason("2.1", "Register", request)).toBe("InvalidMessage");
  });

  test("attributes that the server computes, unless they are equal", async () => {
    await registered("Certificate", {
      CertificateType: "X_509",
      CertificateLength: certificate.length,
    });
    await registered("SymmetricKey", { CryptographicAlgorithm: "AES", CryptographicLength: 128 });
  });

  test("a Name that is taken", async () => {
    const request = payload("OpaqueObject", { Name: named("n") });
    await engine.ask("1.0", "Register", request);
    expect(await engine.reason("1.0", "Register", request)).toBe("InvalidField");
    expect(await engine.reason("2.0", "Register", request)).toBe("NonUniqueNameAttribute");
  });

  test("a Template's Name inside it, from 1.2; in 1.0 the Name counts", async () => {
    const object = objectItem("Template", {
      attributes: attributeSet({ Name: named("t") }).attributes,
    });
    expect(await engine.reason("1.2", "Register", payload("Template", {}, object))).toBe(
      "InvalidField",
    );
    const { uniqueIdentifier } = await engine.ask(
      "1.0",
      "Register",
      payload("Template", {}, object),
    );
    expect(all(await stored(uniqueIdentifier), "Name")).toEqual([named("t")]);
  });
});

test("everything that is accepted can be read again, also if larger requests are allowed", async () => {
  const bytesMax = 32 << 20;
  const { engine: large, client } = await testEngine({ limits: { ...defaultLimits, bytesMax } });
  const ask = async (operation: "Register" | "Get", asked: object) => {
    const request = encodeRequest({ version: "2.1", items: [{ operation, payload: asked }] });
    const answer = await large.execute(encode(request), client, "r");
    return decodeResponse(decode(answer, { ...defaultLimits, bytesMax })).items[0];
  };
  const object = objectItem("OpaqueObject", {
    opaqueDataType: 0x80000001,
    opaqueDataValue: new Uint8Array(9 << 20).fill(7),
  });
  const made = await ask("Register", payload("OpaqueObject", {}, object));
  const read = await ask("Get", made?.payload as object);
  expect(read?.message).toBeUndefined();
  const { object: back } = (read?.payload ?? {}) as { object: Item };
  expect(Buffer.compare(encode(back), encode(object))).toBe(0);
});

test("an object whose record would not fit a message between regions is refused", async () => {
  engine = await testEngine({ limits: { ...defaultLimits, bytesMax: 16 << 20 } });
  const ofBytes = (bytes: number) =>
    objectItem("OpaqueObject", {
      opaqueDataType: 0x80000001,
      opaqueDataValue: new Uint8Array(bytes),
    });
  const reason = (bytes: number) =>
    engine.reason("2.1", "Register", payload("OpaqueObject", {}, ofBytes(bytes)));
  expect(await reason(10_400_000)).toBeUndefined();
  expect(await reason(10_500_000)).toBe("ServerLimitExceeded");
});

test("the attributes of a new object have a common size limit", async () => {
  engine = await testEngine({ limits: { ...defaultLimits, bytesMax: 4 << 20 } });
  const reason = (bytes: number) => {
    const half = "c".repeat(bytes / 2);
    const given = { ContactInformation: half, ObjectGroup: half };
    return engine.reason("1.4", "Register", payload("SymmetricKey", given));
  };
  expect(await reason(1_000_000)).toBeUndefined();
  expect(await reason(1_100_000)).toBe("IndexOutOfBounds");
});

test("a key with an exponent of 300,000 bytes is not parsed: the request must state algorithm and length", async () => {
  const keyBlock = {
    keyFormatType: "PKCS_1",
    keyValue: material(rsaWithExponent(300_000)),
  } as const;
  const reason = (stated: object) => {
    const object = objectItem("PublicKey", { keyBlock: { ...keyBlock, ...stated } });
    return engine.reason("2.1", "Register", payload("PublicKey", {}, object));
  };
  expect(await reason({})).toBe("InvalidMessage");
  const rsa = { cryptographicAlgorithm: "RSA", cryptographicLength: 2048 } as const;
  expect(await reason(rsa)).toBeUndefined();
});

test("a malformed certificate is the client's fault, not an internal error", async () => {
  const broken = Uint8Array.from(certificate);
  broken[6] = 0x02;
  const object = objectItem("Certificate", { certificateType: "X_509", certificateValue: broken });
  expect(await engine.reason("2.1", "Register", payload("Certificate", {}, object))).toBe(
    "InvalidField",
  );
  expect(engine.events.filter((event) => "cause" in event)).toEqual([]);
});
