import { X509Certificate } from "node:crypto";
import { ManagementError } from "@holdfast/admin";
import type { SystemRecord } from "@holdfast/engine";
import { publicKeyOf, subjectOf, unusableKey } from "../../base/certificates.ts";

const certificateBytesMax = 16_384;
const rsaBitsMin = 2048;
/** Characters: the largest certificate in base64, its tags, and some space. */
const plainPemMax = 32_768;
const plainPem = /^\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----\s*$/;
const block = /-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----/g;

/** What people paste in place of a certificate, and what to do then; the first match is reported. */
const mistaken: readonly (readonly [pattern: RegExp, detail: string])[] = [
  [
    /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/,
    "this is, or holds, a private key: it must not leave vCenter. Paste the certificate only (BEGIN CERTIFICATE), and replace the key if others could read it",
  ],
  [
    /-----BEGIN (NEW )?CERTIFICATE REQUEST-----/,
    "this is a signing request (CSR), not a certificate: have it signed with `holdfast authority sign`",
  ],
  [
    /-----BEGIN TRUSTED CERTIFICATE-----/,
    "this is OpenSSL's own form (BEGIN TRUSTED CERTIFICATE): convert it with `openssl x509 -in FILE -out FILE.pem`",
  ],
  [
    /-----BEGIN (PKCS7|CMS)-----/,
    "this is a PKCS#7 bundle: take the client's certificate out of it with `openssl pkcs7 -print_certs`",
  ],
  [/-----BEGIN (X509 )?CRL-----/, "this is a revocation list, not a certificate"],
  [
    /-----BEGIN [A-Z ]*PUBLIC KEY-----/,
    "this is a public key, not a certificate: export the certificate (BEGIN CERTIFICATE)",
  ],
  [/^ssh-|^ecdsa-sha2-|^---- BEGIN SSH2/, "this is an SSH key, not a certificate"],
];

/** DER that was pasted as text, or as base64 without tags. */
const der = /^0[\u0080-\uffff]|^\s*MII[A-Za-z0-9+/=\s]+$/;

/** Reads what an administrator pasted: exactly one certificate. A refusal says what the text is instead. */
export function readPasted(text: string): X509Certificate {
  for (const [pattern, detail] of mistaken) if (pattern.test(text)) throw invalid(detail);
  const blocks = text.match(block) ?? [];
  if (blocks.length > 1) {
    throw invalid(
      `these are ${blocks.length} certificates, and one is added at a time: in a chain the first is the client's own, and those after it are authorities`,
    );
  }
  const [pem] = blocks;
  if (pem === undefined) throw invalid(whyNone(text));
  return parse(pem);
}

/** Whether a text is one certificate in PEM, with at most space around it: such a text is kept and shown as it is. */
export function isPlainPem(text: string): boolean {
  return text.length <= plainPemMax && plainPem.test(text);
}

/** Rejects where a certificate could not do what it is added for. `shown`: a client has presented it as its own. */
export async function checkUsable(
  certificate: X509Certificate,
  kind: SystemRecord<"Certificate">["kind"],
  nowMs: number,
  shown = false,
): Promise<void> {
  const subject = subjectOf(certificate) || "the certificate";
  const until = certificate.validToDate;
  if (until.getTime() <= nowMs) {
    throw invalid(
      `${subject} expired on ${until.toISOString().slice(0, 10)}: have vCenter make a new one, and add that`,
    );
  }
  if (/md5|sha-?1\b|sha1/i.test(certificate.signatureAlgorithm ?? "")) {
    throw invalid(
      `${subject} is signed with ${certificate.signatureAlgorithm}, which can be forged: SHA-256 or better is required`,
    );
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: key } = certificate.publicKey;
  const bits = key?.modulusLength ?? rsaBitsMin;
  if (type === "rsa" && bits < rsaBitsMin) {
    throw invalid(`${subject} has an RSA key of ${bits} bits: ${rsaBitsMin} or more are required`);
  }
  if (kind === "authority" && !certificate.ca) {
    throw invalid(
      `${subject} is not a certificate authority: add it as a client's certificate (kind client)`,
    );
  }
  if (kind === "client" && !shown && (await signsOthers(certificate))) {
    throw invalid(
      `${subject} is the certificate of an authority: add it as an authority (kind authority) to admit the clients that it issues certificates to, or paste the client's own certificate`,
    );
  }
}

/** An authority has CA:TRUE and the usage keyCertSign. A client's from `openssl req -x509` has CA:TRUE and no usage. */
async function signsOthers(certificate: X509Certificate): Promise<boolean> {
  if (!certificate.ca) return false;
  // Loaded here, since it takes 3 MB, and most nodes never need it.
  const x509 = await import("../../access/crl/x509.ts");
  const usage = new x509.X509Certificate(certificate.raw).getExtension(x509.KeyUsagesExtension);
  const selfIssued = certificate.issuer === certificate.subject;
  if (usage === null) return !selfIssued;
  return (usage.usages & x509.KeyUsageFlags.keyCertSign) !== 0;
}

function parse(pem: string): X509Certificate {
  const certificate = readable(pem);
  if (certificate === undefined) {
    if (hasUnusableKey(pem)) throw invalid(`the certificate has a ${unusableKey}`);
    throw invalid(
      "the certificate between the tags cannot be read: it was cut off or altered on the way; copy it again, whole",
    );
  }
  if (certificate.raw.length > certificateBytesMax) {
    throw invalid(`the certificate is larger than ${certificateBytesMax} bytes`);
  }
  return certificate;
}

function hasUnusableKey(pem: string): boolean {
  try {
    return publicKeyOf(new X509Certificate(pem)) === undefined;
  } catch {
    return false;
  }
}

/** Reads a certificate; undefined where it, its key or its dates cannot be read. */
export function readable(source: string | Uint8Array): X509Certificate | undefined {
  try {
    const certificate = new X509Certificate(source);
    const { validFromDate, validToDate, publicKey } = certificate;
    const dated = [validFromDate, validToDate].every((date) => Number.isFinite(date.getTime()));
    return dated && publicKey.type === "public" ? certificate : undefined;
  } catch {
    return undefined;
  }
}

function whyNone(text: string): string {
  const [begins, ends] = ["-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"].map((tag) =>
    text.includes(tag),
  );
  if (begins && !ends) {
    return "the end is missing: paste up to and including -----END CERTIFICATE-----";
  }
  if (ends && !begins) {
    return "the beginning is missing: paste from -----BEGIN CERTIFICATE----- on";
  }
  if (begins && ends) return "the text between the tags is not base64: copy the file's text";
  if (der.test(text)) {
    return "this is DER, or base64 without its tags: convert it with `openssl x509 -inform der -in FILE`, and paste from BEGIN CERTIFICATE to END CERTIFICATE";
  }
  return "it contains no certificate: paste the PEM text from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----";
}

function invalid(detail: string): ManagementError {
  return new ManagementError("certificateInvalid", detail);
}
