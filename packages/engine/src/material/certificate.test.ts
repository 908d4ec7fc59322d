import { attributeNameOf, attributeValue, KmipError } from "@holdfast/kmip";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  der,
  nameDer,
  oid,
  rsaWithExponent,
  testCertificate,
} from "../testing/test-certificate.ts";
import { certificateItems } from "./certificate.ts";
import { DerError, derValues, objectIdentifier } from "./der.ts";
import { nameText, relativeNames } from "./distinguished-name.ts";

const seed = 20261125;

const issuer = nameDer([
  ["2.5.4.6", "AU", 0x13],
  ["2.5.4.10", "Ünïted Keys"],
  ["2.5.4.3", "Inter"],
]);
const subject = nameDer([
  ["2.5.4.6", "AU", 0x13],
  ["2.5.4.8", "NSW"],
  ["2.5.4.7", "Sydney"],
  ["2.5.4.10", "O"],
  ["2.5.4.11", "OU 1"],
  ["2.5.4.11", "OU 2"],
  ["1.2.840.113549.1.9.1", "a@b.example", 0x16],
  ["2.5.4.5", "42", 0x13],
  ["2.5.4.12", "Dr"],
  ["0.9.2342.19200300.100.1.25", "example", 0x16],
  ["0.9.2342.19200300.100.1.1", "uid"],
  ["2.5.4.46", "q", 0x13],
  ["2.5.4.3", "EE"],
]);
const serialNumber = Buffer.from("3132333435363738", "hex");

/** Every attribute by name, with all its values. */
function described(certificate: Uint8Array): Readonly<Record<string, readonly unknown[]>> {
  const found: Record<string, unknown[]> = {};
  for (const item of certificateItems(Uint8Array.from(certificate))) {
    const name = attributeNameOf(item.tag);
    if (name === undefined) throw new Error(`no attribute ${item.tag}`);
    found[name] = [...(found[name] ?? []), attributeValue(name, item)];
  }
  return found;
}

describe("attributes read from a certificate", () => {
  const certificate = testCertificate({ issuer, subject, serialNumber, dnsNames: ["a.example"] });
  const attributes = described(certificate);

  test.each<[string, readonly unknown[]]>([
    ["CertificateLength", [certificate.length]],
    ["CryptographicAlgorithm", ["RSA"]],
    ["CryptographicLength", [2048]],
    ["DigitalSignatureAlgorithm", ["SHA_256WithRSAEncryption"]],
    ["CertificateSubjectCN", ["EE"]],
    ["CertificateSubjectO", ["O"]],
    ["CertificateSubjectOU", ["OU 1", "OU 2"]],
    ["CertificateSubjectEmail", ["a@b.example"]],
    ["CertificateSubjectC", ["AU"]],
    ["CertificateSubjectST", ["NSW"]],
    ["CertificateSubjectL", ["Sydney"]],
    ["CertificateSubjectUID", ["uid"]],
    ["CertificateSubjectSerialNumber", ["42"]],
    ["CertificateSubjectTitle", ["Dr"]],
    ["CertificateSubjectDC", ["example"]],
    ["CertificateSubjectDNQualifier", ["q"]],
    ["CertificateIssuerCN", ["Inter"]],
    ["CertificateIssuerO", ["Ünïted Keys"]],
    ["CertificateIssuerC", ["AU"]],
  ])("%s", (name, values) => {
    expect(attributes[name]).toEqual(values);
  });

  test("the X.509 attributes are its own bytes", () => {
    const bytes = (buffer: Buffer) => Uint8Array.from(buffer);
    expect(attributes["X_509CertificateIdentifier"]).toEqual([
      {
        issuerDistinguishedName: bytes(issuer),
        serialNumber: bytes(der(0x02, serialNumber)),
      },
    ]);
    expect(attributes["X_509CertificateIssuer"]).toEqual([
      { distinguishedName: bytes(issuer), alternativeNames: [] },
    ]);
    expect(attributes["X_509CertificateSubject"]).toEqual([
      {
        distinguishedName: bytes(subject),
        alternativeNames: [bytes(der(0x82, Buffer.from("a.example")))],
      },
    ]);
  });

  test("the 1.x attributes are text, last part first", () => {
    expect(attributes["CertificateIdentifier"]).toEqual([
      { issuer: "CN=Inter,O=Ünïted Keys,C=AU", serialNumber: "3132333435363738" },
    ]);
    expect(attributes["CertificateIssuer"]).toMatchObject([
      { distinguishedName: "CN=Inter,O=Ünïted Keys,C=AU" },
    ]);
  });

  test("include algorithm and length of a key on a curve", () => {
    const found = described(testCertificate({ issuer, subject, serialNumber, key: "ec" }));
    expect(found).toMatchObject({
      CryptographicAlgorithm: ["ECDSA"],
      CryptographicLength: [384],
      DigitalSignatureAlgorithm: ["ECDSAWithSHA256"],
    });
  });
});

describe("input that is not a certificate", () => {
  const whole = testCertificate({ issuer, subject, serialNumber });
  const pem = `-----BEGIN CERTIFICATE-----\n${whole.toString("base64")}\n-----END CERTIFICATE-----\n`;

  test.each<[string, Uint8Array]>([
    ["nothing", new Uint8Array()],
    ["text", Buffer.from(pem)],
    ["a cut certificate", whole.subarray(0, 300)],
    ["one with more behind it", Buffer.concat([whole, Buffer.from([0])])],
    ["another structure", der(0x30, der(0x30, der(0x02, Buffer.from([1]))))],
  ])("%s is an Invalid Field", (_name, bytes) => {
    expect(() => certificateItems(bytes)).toThrow(
      expect.objectContaining({ name: "KmipError", fault: "invalidField" }),
    );
  });

  test(`changed bytes are read or refused, and nothing else happens (seed ${seed})`, () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        (edits) => {
          const bytes = Uint8Array.from(whole);
          for (const [at, value] of edits) bytes[at] = value;
          try {
            certificateItems(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(KmipError);
          }
        },
      ),
      { seed, numRuns: 500 },
    );
  });
});

describe("DER", () => {
  test.each(["2.5.4.3", "1.2.840.113549.1.1.11", "0.9.2342.19200300.100.1.25", "2.999.1"])(
    "reads object identifier %s",
    (dotted) => {
      const [value] = derValues(oid(dotted));
      expect(value && objectIdentifier(value.content)).toBe(dotted);
    },
  );

  test(`any bytes are values or a DerError (seed ${seed})`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          const values = derValues(bytes);
          const joined = Buffer.concat(values.map(({ encoded }) => encoded));
          expect(joined.equals(bytes)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(DerError);
        }
      }),
      { seed },
    );
  });

  test.each([
    [[["2.5.4.3", "a,b+c"]], "CN=a\\,b\\+c"],
    [[["2.5.4.3", " #lead and trail "]], "CN=\\ #lead and trail\\ "],
    [[["2.5.4.3", "#x"]], "CN=\\#x"],
    [[["1.2.3.4", "x"]], "1.2.3.4=x"],
  ] as const)("a name's text is escaped", (attributes, text) => {
    const [name] = derValues(nameDer(attributes));
    expect(name && nameText(relativeNames(name))).toBe(text);
  });
});

describe("a certificate that is made to be expensive", () => {
  test("with an exponent of 300,000 bytes is described without its key, which is not parsed", () => {
    const algorithm = der(0x30, oid("1.2.840.113549.1.1.1"), der(0x05));
    const key = (bytes: number) =>
      der(0x30, algorithm, der(0x03, Buffer.of(0), rsaWithExponent(bytes)));
    const withKey = (bytes: number) =>
      described(testCertificate({ issuer, subject, serialNumber, publicKey: key(bytes) }));
    expect(withKey(8)).toMatchObject({ CryptographicAlgorithm: ["RSA"] });
    const large = withKey(300_000);
    expect(large).toMatchObject({ CertificateSubjectCN: ["EE"] });
    expect(large).not.toHaveProperty("CryptographicAlgorithm");
  });

  test("with too many names is refused", () => {
    const many = (count: number) =>
      Array.from({ length: count }, (): readonly [string, string] => ["2.5.4.11", "OU"]);
    const withNames = (units: number, dnsNames: readonly string[]) =>
      certificateItems(
        testCertificate({ issuer, subject: nameDer(many(units)), serialNumber, dnsNames }),
      );
    expect(withNames(100, ["a"]).length).toBeGreaterThan(100);
    const fault = expect.objectContaining({ fault: "invalidField" });
    expect(() => withNames(10_000, [])).toThrow(fault);
    const dnsNames = Array.from({ length: 10_000 }, () => "a");
    expect(() => withNames(1, dnsNames)).toThrow(fault);
  });
});
