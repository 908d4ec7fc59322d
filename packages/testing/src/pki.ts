import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

/** A certificate and its private key, both PEM. */
export interface Issued {
  readonly certificate: string;
  readonly key: string;
}

/** The properties of a certificate to make. */
export interface CertificateRequest {
  readonly commonName: string;
  /** Start of validity, in milliseconds since the epoch. */
  readonly notBeforeMs: number;
  readonly days: number;
  /** P-256 by default. */
  readonly keyType?: "P-256" | "RSA-2048";
  /** IP addresses and DNS names of a server. */
  readonly hosts?: readonly string[];
  /** Undefined = no Extended Key Usage extension, as in certificates that vCenter makes itself. */
  readonly purposes?: readonly string[];
}

/** Signs certificates: for development, not for production. */
export interface Authority {
  readonly certificate: string;
  readonly key: string;
  issue(request: CertificateRequest): Promise<Issued>;
}

const msPerDay = 86_400_000;
const keyAlgorithms = {
  "P-256": { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  "RSA-2048": {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: "SHA-256",
  },
} as const;

/** Makes a certificate authority. */
export async function createAuthority(request: CertificateRequest): Promise<Authority> {
  const keys = await generateKeys(request);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...common(request),
    name: nameOf(request),
    keys,
    signingAlgorithm: keyAlgorithms[request.keyType ?? "P-256"],
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
    ],
  });
  return {
    certificate: `${certificate.toString("pem")}\n`,
    key: await exportKey(keys.privateKey),
    issue: async (leaf) => {
      const leafKeys = await generateKeys(leaf);
      const issued = await X509CertificateGenerator.create({
        ...common(leaf),
        subject: nameOf(leaf),
        issuer: certificate.subject,
        publicKey: leafKeys.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: keyAlgorithms[request.keyType ?? "P-256"],
        extensions: [
          ...(await leafExtensions(leaf, leafKeys)),
          await AuthorityKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        ],
      });
      return {
        certificate: `${issued.toString("pem")}\n`,
        key: await exportKey(leafKeys.privateKey),
      };
    },
  };
}

/** Makes a self-signed leaf certificate, as vCenter does for "vCenter certificate" trust. */
export async function selfSigned(request: CertificateRequest): Promise<Issued> {
  const keys = await generateKeys(request);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...common(request),
    name: nameOf(request),
    keys,
    signingAlgorithm: keyAlgorithms[request.keyType ?? "P-256"],
    extensions: await leafExtensions(request, keys),
  });
  return {
    certificate: `${certificate.toString("pem")}\n`,
    key: await exportKey(keys.privateKey),
  };
}

function common(request: CertificateRequest) {
  cryptoProvider.set(webcrypto);
  const serial = randomBytes(16);
  // A serial number is a positive integer of at most 20 bytes (RFC 5280, 4.1.2.2).
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  return {
    serialNumber: serial.toString("hex"),
    notBefore: new Date(request.notBeforeMs),
    notAfter: new Date(request.notBeforeMs + request.days * msPerDay),
  };
}

function nameOf(request: CertificateRequest) {
  return [{ CN: [request.commonName] }];
}

async function generateKeys(request: CertificateRequest): Promise<webcrypto.CryptoKeyPair> {
  const pair = await webcrypto.subtle.generateKey(keyAlgorithms[request.keyType ?? "P-256"], true, [
    "sign",
    "verify",
  ]);
  return pair as webcrypto.CryptoKeyPair;
}

async function leafExtensions(
  request: CertificateRequest,
  keys: webcrypto.CryptoKeyPair,
): Promise<Extension[]> {
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment, true),
    await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
  ];
  const { purposes: named, hosts } = request;
  if (named !== undefined) extensions.push(new ExtendedKeyUsageExtension([...named]));
  if (hosts !== undefined) {
    const names = hosts.map((host) => ({
      type: isIP(host) === 0 ? ("dns" as const) : ("ip" as const),
      value: host,
    }));
    extensions.push(new SubjectAlternativeNameExtension(names));
  }
  return extensions;
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/(.{64})/g, "$1\n").trimEnd()}\n-----END PRIVATE KEY-----\n`;
}
