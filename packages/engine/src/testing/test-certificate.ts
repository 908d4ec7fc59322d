import { generateKeyPairSync, sign } from "node:crypto";

/** One DER value. */
export function der(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const bytes = Buffer.concat(content);
  const { length } = bytes;
  const header =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff];
  return Buffer.concat([Buffer.from(header), bytes]);
}

/** An object identifier. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((part) => {
    const groups = [part & 0x7f];
    for (let left = Math.floor(part / 128); left > 0; left = Math.floor(left / 128)) {
      groups.unshift((left & 0x7f) | 0x80);
    }
    return groups;
  });
  return der(0x06, Buffer.from(bytes));
}

/** A Name whose attributes are `[object identifier, text, DER tag]`, one per relative name. */
export function nameDer(attributes: readonly (readonly [string, string, number?])[]): Buffer {
  return der(
    0x30,
    ...attributes.map(([type, value, tag = 0x0c]) =>
      der(
        0x31,
        der(0x30, oid(type), der(tag, Buffer.from(value, tag === 0x13 ? "latin1" : "utf8"))),
      ),
    ),
  );
}

/** The contents of a test certificate. */
export interface TestCertificate {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly serialNumber: Buffer;
  /** DNS names of the subject. */
  readonly dnsNames?: readonly string[];
  readonly key?: "rsa" | "ec";
  /** Replaces the public key. */
  readonly publicKey?: Uint8Array;
}

/** An RSA public key as PKCS#1, with an exponent of so many bytes. */
export function rsaWithExponent(bytes: number): Buffer {
  const number = (length: number) => der(0x02, Buffer.of(0), Buffer.alloc(length, 0xa7));
  return der(0x30, number(256), number(bytes));
}

/** A certificate, signed with a key of its own. */
export function testCertificate(given: TestCertificate): Buffer {
  const { publicKey, privateKey } =
    given.key === "ec"
      ? generateKeyPairSync("ec", { namedCurve: "secp384r1" })
      : generateKeyPairSync("rsa", { modulusLength: 2048 });
  const algorithm =
    given.key === "ec"
      ? der(0x30, oid("1.2.840.10045.4.3.2"))
      : der(0x30, oid("1.2.840.113549.1.1.11"), der(0x05));
  const time = (text: string) => der(0x17, Buffer.from(text));
  const names = (given.dnsNames ?? []).map((name) => der(0x82, Buffer.from(name)));
  const extension = der(0x30, oid("2.5.29.17"), der(0x04, der(0x30, ...names)));
  const toBeSigned = der(
    0x30,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, given.serialNumber),
    algorithm,
    given.issuer,
    der(0x30, time("250101000000Z"), time("350101000000Z")),
    given.subject,
    given.publicKey ?? publicKey.export({ format: "der", type: "spki" }),
    ...(names.length === 0 ? [] : [der(0xa3, der(0x30, extension))]),
  );
  const signature = sign("sha256", toBeSigned, privateKey);
  return der(0x30, toBeSigned, algorithm, der(0x03, Buffer.from([0]), signature));
}
