import {
  attributes,
  attributeValue,
  type KeyBlock,
  type ObjectTypeName,
  objectItem,
  tags,
  type Version,
  versions,
} from "@holdfast/kmip";
import { bigInteger, byteString, enumeration, type Item, structure } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import { attributeSet } from "../testing/test-attributes.ts";
import {
  der,
  nameDer,
  oid,
  type TestCertificate,
  testCertificate,
} from "../testing/test-certificate.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";
import { is } from "../testing/test-locate.ts";

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

type Given = Parameters<typeof attributeSet>[0];
type KeyType = "PublicKey" | "PrivateKey";

function payload(objectType: ObjectTypeName, object: Item, given: Given = {}) {
  return { objectType, attributes: attributeSet(given), object };
}

async function register(version: Version, ...given: Parameters<typeof payload>): Promise<string> {
  return (await engine.ask(version, "Register", payload(...given))).uniqueIdentifier;
}

describe("a transparent key whose algorithm and length are not stated", () => {
  /** A number of so many bits, with a zero byte before it. */
  const number = (name: "Modulus" | "P" | "Q" | "G" | "X" | "Y" | "D", bits: number) => {
    const bytes = new Uint8Array(Math.ceil(bits / 8) + 8 - (Math.ceil(bits / 8) % 8));
    bytes[bytes.length - Math.ceil(bits / 8)] = 1 << ((bits - 1) % 8);
    return bigInteger(tags[name].tag, bytes);
  };
  const curve = (value: number) => enumeration(tags.RecommendedCurve.tag, value);
  const dsa = [number("P", 2048), number("Q", 256), number("G", 2047)];
  const point = byteString(tags.QString.tag, Uint8Array.of(4, 1, 1));

  const cases: readonly (readonly [
    type: KeyType,
    format: KeyBlock["keyFormatType"],
    fields: readonly Item[],
    expected: readonly unknown[],
  ])[] = [
    ["PrivateKey", "TransparentRSAPrivateKey", [number("Modulus", 1024)], ["RSA", 1024]],
    ["PrivateKey", "TransparentDSAPrivateKey", [...dsa, number("X", 255)], ["DSA", 2048]],
    ["PublicKey", "TransparentDSAPublicKey", [...dsa, number("Y", 2040)], ["DSA", 2048]],
    [
      "PublicKey",
      "TransparentDHPublicKey",
      [number("P", 1023), number("G", 2), number("Y", 1020)],
      ["DH", 1023],
    ],
    ["PublicKey", "TransparentECDSAPublicKey", [curve(0x07), point], ["ECDSA", 256]],
    ["PrivateKey", "TransparentECPrivateKey", [curve(0x0d), number("D", 520)], ["EC", 521]],
    ["PrivateKey", "TransparentECPrivateKey", [curve(0x41), number("D", 380)], ["EC", 384]],
    ["PublicKey", "TransparentECPublicKey", [curve(0x45), point], ["EC", 256]],
  ];

  test.each(cases)(
    "has those of its fields: %s, %s",
    async (type, keyFormatType, fields, expected) => {
      const keyMaterial = structure(tags.KeyMaterial.tag, fields);
      const object = objectItem(type, { keyBlock: { keyFormatType, keyValue: { keyMaterial } } });
      const version = keyFormatType === "TransparentECDSAPublicKey" ? "1.4" : "2.1";
      const uniqueIdentifier = await register(version, type, object);
      const names = ["CryptographicAlgorithm", "CryptographicLength"] as const;
      const references = names.map((name) => ({ tag: attributes[name].tag, key: "" }));
      const answer = await engine.ask("2.1", "GetAttributes", { uniqueIdentifier, references });
      const values = names.map((name, at) => {
        const item = answer.attributes[at]?.item;
        return item && attributeValue(name, item);
      });
      expect(values).toEqual(expected);
    },
  );

  test("is refused if its curve is not known, or its format is of the other type", async () => {
    const keyMaterial = structure(tags.KeyMaterial.tag, [curve(0x80000001), point]);
    const block = (keyFormatType: KeyBlock["keyFormatType"]) => ({
      keyBlock: { keyFormatType, keyValue: { keyMaterial } },
    });
    const other = objectItem("PublicKey", block("TransparentECPublicKey"));
    expect(await engine.reason("2.1", "Register", payload("PublicKey", other))).toBe(
      "InvalidMessage",
    );
    const known = structure(tags.KeyMaterial.tag, [curve(0x07), point]);
    const wrong = objectItem("PrivateKey", {
      keyBlock: { keyFormatType: "TransparentECPublicKey", keyValue: { keyMaterial: known } },
    });
    expect(await engine.reason("2.1", "Register", payload("PrivateKey", wrong))).toBe(
      "InvalidMessage",
    );
  });
});

describe("the Link to a wrapping key, which 1.x does not have", () => {
  const wrapped = objectItem("SymmetricKey", {
    keyBlock: {
      keyFormatType: "Raw",
      keyValue: new Uint8Array(24),
      cryptographicAlgorithm: "AES",
      cryptographicLength: 128,
      keyWrappingData: {
        wrappingMethod: "Encrypt",
        encryptionKeyInformation: { uniqueIdentifier: "wrapping-key" },
      },
    },
  });
  const other = is("Link", { type: "PreviousLink", linkedObjectIdentifier: "other" });
  const links = { tag: attributes.Link.tag, key: "" };

  test("takes no Attribute Index of a key that 1.x registers", async () => {
    const uniqueIdentifier = await register("1.4", "SymmetricKey", wrapped);
    const added = await engine.ask("1.4", "AddAttribute", {
      uniqueIdentifier,
      newAttribute: other,
    });
    expect(added.attribute).toEqual(other);
  });

  test("is neither shown to 1.x nor changed by it", async () => {
    const uniqueIdentifier = await register("2.1", "SymmetricKey", wrapped);
    const named = async (version: Version) =>
      (await engine.ask(version, "GetAttributes", { uniqueIdentifier, references: [links] }))
        .attributes.length;
    for (const version of versions) expect(await named(version)).toBe(version >= "2.0" ? 1 : 0);
    const { references } = await engine.ask("1.4", "GetAttributeList", { uniqueIdentifier });
    expect(references.map(({ tag }) => tag)).not.toContain(links.tag);
    const removal = { uniqueIdentifier, reference: links };
    expect(await engine.reason("1.4", "DeleteAttribute", removal)).toBe("ItemNotFound");
    const change = { uniqueIdentifier, newAttribute: other };
    expect(await engine.reason("1.4", "ModifyAttribute", change)).toBe("InvalidField");
    expect(await named("2.1")).toBe(1);
  });
});

describe("a PKCS#12 container", () => {
  const container = objectItem("PrivateKey", {
    keyBlock: {
      keyFormatType: "PKCS_12",
      keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, Uint8Array.of(1, 2, 3)) },
      cryptographicAlgorithm: "RSA",
      cryptographicLength: 2048,
    },
  });

  const secret = (secretDataType: "Password" | "Seed") =>
    objectItem("SecretData", {
      secretDataType,
      keyBlock: {
        keyFormatType: "Opaque",
        keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, Buffer.from("password")) },
      },
    });

  async function reasons(...identifiers: readonly string[]) {
    const given = identifiers.map((linkedObjectIdentifier) =>
      is("Link", { type: "PKCS_12PasswordLink", linkedObjectIdentifier }),
    );
    const request = {
      objectType: "PrivateKey",
      attributes: { attributes: given, templateNames: [] },
      object: container,
    };
    const answers: (string | undefined)[] = [];
    for (const version of ["1.4", "2.0", "2.1"] as const) {
      answers.push(await engine.reason(version, "Register", request));
    }
    return answers;
  }

  test("is accepted with a link to its password, and refused with anything else", async () => {
    const bad = ["InvalidField", "BadPassword", "BadPassword"];
    const password = await register("1.4", "SecretData", secret("Password"));
    const second = await register("1.4", "SecretData", secret("Password"));
    const seed = await register("1.4", "SecretData", secret("Seed"));
    const { uniqueIdentifier: key } = await engine.ask("2.1", "Create", {
      objectType: "SymmetricKey",
      attributes: attributeSet({}),
    });
    expect(await reasons()).toEqual(bad);
    expect(await reasons(password, second)).toEqual(bad);
    expect(await reasons(seed)).toEqual(bad);
    expect(await reasons(key)).toEqual(bad);
    expect(await reasons("none")).toEqual(bad);
    expect(await reasons(password)).toEqual([undefined, undefined, undefined]);
    await engine.ask("1.4", "Destroy", { uniqueIdentifier: password });
    expect(await reasons(password)).toEqual(bad);
  });
});

describe("the stated algorithm and length of an object that does not tell them itself", () => {
  const stated = { CryptographicAlgorithm: "ECDSA", CryptographicLength: 256 } as const;
  const certificate = (
    key: Partial<TestCertificate>,
    certificateType: "PGP" | "X_509" = "X_509",
  ) => {
    const names = nameDer([["2.5.4.3", "c"]]);
    const parts = { issuer: names, subject: names, serialNumber: Buffer.of(7) };
    const certificateValue = testCertificate({ ...parts, ...key });
    return objectItem("Certificate", { certificateType, certificateValue });
  };
  /** A Subject Public Key Info of an algorithm that no platform knows. */
  const publicKey = der(0x30, der(0x30, oid("1.2.3.4")), der(0x03, Buffer.of(0, 1)));
  const signingRequest = objectItem("CertificateRequest", {
    certificateRequestType: "PKCS_10",
    certificateRequestValue: Uint8Array.of(1, 2, 3),
  });

  /** Registers an object with an algorithm and a length, and expects it to have them. */
  async function keeps(version: Version, type: ObjectTypeName, object: Item, given: Given) {
    const uniqueIdentifier = await register(version, type, object, given);
    const wanted = attributeSet(given).attributes.map(({ item }) => item);
    const references = wanted.map(({ tag }) => ({ tag, key: "" }));
    const answer = await engine.ask(version, "GetAttributes", { uniqueIdentifier, references });
    expect(answer.attributes.map(({ item }) => item)).toEqual(wanted);
  }

  test.each<[string, Version, ObjectTypeName, Item]>([
    ["a PGP certificate", "1.0", "Certificate", certificate({}, "PGP")],
    ["a certificate with an unknown key", "1.4", "Certificate", certificate({ publicKey })],
    ["a certificate request", "2.0", "CertificateRequest", signingRequest],
    ["a certificate request", "2.1", "CertificateRequest", signingRequest],
  ])("are those of %s in %s", async (_what, version, type, object) => {
    await keeps(version, type, object, stated);
  });

  test.each(["ECDSA", "ECDH", "ECMQV", "EC"] as const)(
    "may be %s for any certificate with a key on a curve",
    async (CryptographicAlgorithm) => {
      const object = certificate({ key: "ec" });
      const given = { CryptographicAlgorithm, CryptographicLength: 384 };
      await keeps("1.4", "Certificate", object, given);
      const wrong = payload("Certificate", object, { ...given, CryptographicLength: 256 });
      expect(await engine.reason("1.4", "Register", wrong)).toBe("InvalidField");
    },
  );

  test("must be those of a certificate whose key is known", async () => {
    const wrong = payload("Certificate", certificate({}), stated);
    expect(await engine.reason("1.4", "Register", wrong)).toBe("InvalidField");
    expect(await engine.reason("2.1", "Register", wrong)).toBe("InvalidAttributeValue");
  });
});
