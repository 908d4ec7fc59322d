import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type { PeerTls } from "../../peer/peer-tls.ts";

function der(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const bytes = Buffer.concat(content);
  const { length } = bytes;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), bytes]);
}

const oids = {
  ecdsaSha256: "06082a8648ce3d040302",
  commonName: "0603550403",
  basicConstraints: "0603551d13",
  subjectAltName: "0603551d11",
} as const;
const oid = (name: keyof typeof oids) => Buffer.from(oids[name], "hex");
const algorithm = der(0x30, oid("ecdsaSha256"));

function nameOf(commonName: string): Buffer {
  return der(
    0x30,
    der(0x31, der(0x30, oid("commonName"), der(0x0c, Buffer.from(commonName, "utf8")))),
  );
}

function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "");
  return der(0x18, Buffer.from(text, "latin1"));
}

function pem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** A certificate authority of a test. */
export interface TestAuthority {
  readonly ca: string;
  /** A certificate with these DNS names, and the authorities that its owner trusts: this one where none are given. */
  issue(
    commonName: string,
    dnsNames: readonly string[],
    options?: { readonly trust?: string; readonly endsMs?: number },
  ): PeerTls;
  /** A node of a region. */
  node(region: string, trust?: string): PeerTls;
}

/** Makes a certificate authority with a P-256 key. */
export function testAuthority(commonName: string): TestAuthority {
  const now = Date.now();
  const own = generateKeyPairSync("ec", { namedCurve: "P-256" });
  let serial = 1;
  const make = (subject: string, key: KeyObject, endsMs: number, extension: Buffer) => {
    const body = der(
      0x30,
      der(0xa0, der(0x02, Buffer.of(2))),
      der(0x02, Buffer.from([0x40, serial++])),
      algorithm,
      nameOf(commonName),
      der(0x30, time(now - 3_600_000), time(endsMs)),
      nameOf(subject),
      key.export({ type: "spki", format: "der" }),
      der(0xa3, der(0x30, extension)),
    );
    const signature = sign("sha256", body, own.privateKey);
    return pem("CERTIFICATE", der(0x30, body, algorithm, der(0x03, Buffer.of(0), signature)));
  };
  const year = now + 365 * 86_400_000;
  const isAuthority = der(
    0x30,
    oid("basicConstraints"),
    der(0x01, Buffer.of(0xff)),
    der(0x04, der(0x30, der(0x01, Buffer.of(0xff)))),
  );
  const ca = make(commonName, own.publicKey, year, isAuthority);
  const authority: TestAuthority = {
    ca,
    issue: (subject, dnsNames, { trust = ca, endsMs = year } = {}) => {
      const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const names = dnsNames.map((name) => der(0x82, Buffer.from(name, "latin1")));
      const extension = der(0x30, oid("subjectAltName"), der(0x04, der(0x30, ...names)));
      return {
        ca: trust,
        certificate: make(subject, publicKey, endsMs, extension),
        key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      };
    },
    node: (region, trust = ca) =>
      authority.issue(`node of ${region}`, [`${region}.peer.holdfast`], { trust }),
  };
  return authority;
}
