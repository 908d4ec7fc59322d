import { hash, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { codeOf, OperatorError, reasonOf } from "./operator-error.ts";

/** Purposes that a certificate may name (RFC 5280, 4.2.1.12). */
export const purposes = {
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;

/** Reads a text file that a setting names. */
export function readText(path: string, setting: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const fault =
      codeOf(error) === "ENOENT" ? "no such file" : `cannot be read: ${reasonOf(error)}`;
    throw new OperatorError(`${setting}: ${path}: ${fault}`);
  }
}

/** Whether a text is PEM itself and not the path of a file. */
export function isPem(text: string): boolean {
  return text.includes("-----BEGIN ");
}

/** Reads every certificate of a PEM file or PEM text. */
export function readCertificates(source: string, setting: string): X509Certificate[] {
  if (isPem(source)) return parseCertificates(source, setting);
  return parseCertificates(readText(source, setting), `${setting}: ${source}`);
}

/** Reads every certificate of a PEM text; errors name `where`. */
export function parseCertificates(pem: string, where: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (blocks === null) {
    throw new OperatorError(`${where}: holds no PEM certificate (-----BEGIN CERTIFICATE-----)`);
  }
  return blocks.map((block) => {
    try {
      const certificate = new X509Certificate(block);
      if (publicKeyOf(certificate) !== undefined) return certificate;
    } catch (error) {
      throw new OperatorError(
        `${where}: holds a certificate that cannot be read: ${reasonOf(error)}`,
      );
    }
    throw new OperatorError(`${where}: holds a certificate whose ${unusableKey}`);
  });
}

/** What is wrong with a certificate whose key `publicKeyOf` does not return. */
export const unusableKey =
  "key OpenSSL cannot use here; in FIPS mode only the curves P-224, P-256, P-384 and P-521 can be used";

/** A certificate's key; undefined if OpenSSL cannot use it: its FIPS provider knows fewer curves. */
export function publicKeyOf(certificate: X509Certificate): KeyObject | undefined {
  try {
    return certificate.publicKey;
  } catch {
    return undefined;
  }
}

/** A certificate's subject on one line. */
export function subjectOf(certificate: X509Certificate): string {
  return (certificate.subject ?? "").replaceAll("\n", ", ").slice(0, 256);
}

/** The usual names of curves that OpenSSL names differently. */
const curves: Readonly<Record<string, string>> = {
  prime256v1: "P-256",
  secp384r1: "P-384",
  secp521r1: "P-521",
};

/** The type of a certificate's key, such as `RSA 2048` or `EC P-256`. */
export function keyTypeOf(certificate: X509Certificate): string {
  const key = publicKeyOf(certificate);
  const { modulusLength, namedCurve } = key?.asymmetricKeyDetails ?? {};
  const type = (key?.asymmetricKeyType ?? "unknown").toUpperCase();
  return `${type} ${modulusLength ?? curves[namedCurve ?? ""] ?? namedCurve ?? ""}`.trim();
}

/** SHA-256 of a certificate, lower-case hex. */
export function fingerprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(":", "").toLowerCase();
}

/** Whether an authority signed a certificate (name, key identifier, key usage and signature; not dates). */
export function isIssuedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  const key = publicKeyOf(authority);
  return key !== undefined && certificate.checkIssued(authority) && certificate.verify(key);
}

/**
 * Identifies an authority by name and key, not by fingerprint: its renewed and cross-signed
 * certificates sign alike.
 */
export function signerOf(authority: X509Certificate): string {
  const key = authority.publicKey.export({ type: "spki", format: "der" });
  return `${authority.subject} ${hash("sha256", key)}`;
}
