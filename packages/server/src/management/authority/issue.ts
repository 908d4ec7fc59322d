import "reflect-metadata";
import { createPublicKey, type KeyObject, randomBytes, webcrypto } from "node:crypto";
import { ManagementError } from "@holdfast/admin";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { purposes } from "../../base/certificates.ts";

/** A new authority of an instance: the caller seals the key, and then zeroes it. */
export interface NewAuthority {
  readonly pem: string;
  /** PKCS#8, DER. */
  readonly key: Uint8Array;
}

/** An authority that was opened for one signature. */
export interface Signer {
  readonly pem: string;
  readonly key: webcrypto.CryptoKey;
}

/** What a certificate is issued for. */
export interface Issue {
  readonly commonName: string;
  readonly nowMs: number;
  readonly days: number;
}

const dayMs = 86_400_000;
const authorityDays = 7300;
/** vCenter's clock may be behind ours. */
const backdatedMs = 600_000;
const rsaBitsMin = 2048;
const rsaBitsMax = 8192;
const curves: readonly string[] = ["prime256v1", "secp384r1", "secp521r1"];

const authorityKeys = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
/** What every vCenter can load. */
const clientKeys = {
  name: "RSASSA-PKCS1-v1_5",
  modulusLength: rsaBitsMin,
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: "SHA-256",
} as const;

/** Makes an instance's own authority: P-256, and it may sign only clients. */
export async function makeAuthority(commonName: string, nowMs: number): Promise<NewAuthority> {
  cryptoProvider.set(webcrypto);
  const keys = await generate(authorityKeys);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    ...dates(nowMs, nowMs + authorityDays * dayMs),
    name: [{ CN: [commonName] }, { O: ["Holdfast"] }],
    keys,
    signingAlgorithm: authorityKeys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
    ],
  });
  const key = new Uint8Array(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
  return { pem: printPem(certificate), key };
}

/** Opens an authority for a signature; `key` may be zeroed afterwards. */
export async function signerOf(pem: string, key: Uint8Array<ArrayBuffer>): Promise<Signer> {
  const opened = await webcrypto.subtle.importKey("pkcs8", key, authorityKeys, false, ["sign"]);
  return { pem, key: opened };
}

/**
 * Signs a client's request (PKCS#10) under the subject that it asks for; nothing else that it asks for is granted. The
 * request must be signed by the key that it names.
 */
export async function signClientRequest(
  signer: Signer,
  csr: string,
  issue: Issue,
): Promise<string> {
  cryptoProvider.set(webcrypto);
  const request = readRequest(csr);
  // First, since checking a signature by a key of any size may take forever.
  checkKey(keyOf(request));
  const proven = await request.verify(webcrypto).catch(() => false);
  if (!proven) {
    throw invalid(
      "the request is not signed by its own key: it was altered on the way; have vCenter make a new one",
    );
  }
  const subject = request.subject === "" ? [{ CN: [issue.commonName] }] : request.subject;
  return await issued(signer, subject, request.publicKey, issue);
}

/** Makes a client's certificate and its private key (PKCS#8, PEM), which is not kept. */
export async function issueClientPair(
  signer: Signer,
  issue: Issue,
): Promise<{ readonly pem: string; readonly privateKey: string }> {
  cryptoProvider.set(webcrypto);
  const keys = await generate(clientKeys);
  const pem = await issued(signer, [{ CN: [issue.commonName] }], keys.publicKey, issue);
  const der = new Uint8Array(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
  const text = Buffer.from(der)
    .toString("base64")
    .replace(/(.{64})/g, "$1\n")
    .trimEnd();
  der.fill(0);
  return { pem, privateKey: `-----BEGIN PRIVATE KEY-----\n${text}\n-----END PRIVATE KEY-----\n` };
}

async function issued(
  signer: Signer,
  subject: string | { CN: string[] }[],
  publicKey: webcrypto.CryptoKey | Pkcs10CertificateRequest["publicKey"],
  { nowMs, days }: Issue,
): Promise<string> {
  const authority = new X509Certificate(signer.pem);
  const untilMs = Math.min(nowMs + days * dayMs, authority.notAfter.getTime());
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    ...dates(nowMs, untilMs),
    subject,
    issuer: authority.subject,
    publicKey,
    signingKey: signer.key,
    signingAlgorithm: authorityKeys,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment, true),
      new ExtendedKeyUsageExtension([purposes.clientAuth]),
      await SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
      await AuthorityKeyIdentifierExtension.create(authority.publicKey, false, webcrypto),
    ],
  });
  return printPem(certificate);
}

function readRequest(text: string): Pkcs10CertificateRequest {
  if (/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(text)) {
    throw invalid("this is, or holds, a private key: paste the signing request only");
  }
  const blocks =
    text.match(
      /-----BEGIN (NEW )?CERTIFICATE REQUEST-----[\sA-Za-z0-9+/=]+-----END (NEW )?CERTIFICATE REQUEST-----/g,
    ) ?? [];
  const [block] = blocks;
  if (block === undefined) {
    throw invalid(
      /-----BEGIN CERTIFICATE-----/.test(text)
        ? "this is a certificate, not a signing request: add it as it is"
        : "it contains no signing request: paste the PEM text from -----BEGIN CERTIFICATE REQUEST----- to -----END CERTIFICATE REQUEST-----",
    );
  }
  if (blocks.length > 1) throw invalid("these are several requests: one is signed at a time");
  try {
    return new Pkcs10CertificateRequest(block.replaceAll(" NEW CERTIFICATE", " CERTIFICATE"));
  } catch {
    throw invalid("the request cannot be read: it was cut off or altered on the way");
  }
}

function keyOf(request: Pkcs10CertificateRequest): KeyObject {
  try {
    const key = Buffer.from(request.publicKey.rawData);
    return createPublicKey({ key, format: "der", type: "spki" });
  } catch {
    throw invalid("the request's key cannot be read: have vCenter make a new request");
  }
}

function checkKey(key: KeyObject): void {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  const bits = details?.modulusLength ?? 0;
  if (type === "rsa" && bits >= rsaBitsMin && bits <= rsaBitsMax) return;
  if (type === "ec" && curves.includes(details?.namedCurve ?? "")) return;
  throw invalid(
    `keys of this kind are not signed: RSA of ${rsaBitsMin} to ${rsaBitsMax} bits, or P-256, P-384, P-521`,
  );
}

/** A byte 01 and 128 random bits: a positive integer of at most 20 bytes (RFC 5280, 4.1.2.2). */
function serialNumber(): string {
  return `01${randomBytes(16).toString("hex")}`;
}

function dates(nowMs: number, untilMs: number) {
  return { notBefore: new Date(nowMs - backdatedMs), notAfter: new Date(untilMs) };
}

async function generate(
  algorithm: typeof authorityKeys | typeof clientKeys,
): Promise<webcrypto.CryptoKeyPair> {
  const pair = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  return pair as webcrypto.CryptoKeyPair;
}

function printPem(certificate: X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}

function invalid(detail: string): ManagementError {
  return new ManagementError("certificateInvalid", detail);
}
