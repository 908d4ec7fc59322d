import type { X509Certificate } from "node:crypto";
import { fingerprintOf } from "../base/certificates.ts";

/** The client certificates that a denial names, in one of three ways: issuer and serial number are one. */
export interface DeniedParts {
  /** SHA-256 of the certificate (DER), hex. */
  readonly fingerprint?: string | undefined;
  readonly issuer?: string | undefined;
  /** Hex. */
  readonly serial?: string | undefined;
  readonly subject?: string | undefined;
}

/** Longer names are not read: a stranger decides the length. The contract allows shorter ones only. */
const nameMax = 4096;

/** Every text by which a denial may name a certificate. */
export function denialNames(certificate: X509Certificate): readonly string[] {
  const [issuer, subject] = [certificate.issuer, certificate.subject].map((name) =>
    (name ?? "").length > nameMax ? "" : plainName(name ?? ""),
  );
  return [
    `fingerprint ${fingerprintOf(certificate)}`,
    ...(issuer === "" ? [] : [`serial ${plainSerial(certificate.serialNumber)} ${issuer}`]),
    ...(subject === "" ? [] : [`subject ${subject}`]),
  ];
}

/**
 * The text of a denial: one of the `denialNames` of each certificate that it names. If the parts, as people write them,
 * name none, says on one line what is wrong.
 */
export function denialName(
  parts: DeniedParts,
): { readonly match: string } | { readonly fault: string } {
  const { fingerprint, serial } = parts;
  const [issuer, subject] = [parts.issuer, parts.subject].map(withoutLabel);
  const ways = [fingerprint, serial ?? issuer, subject].filter((part) => part !== undefined);
  if (ways.length !== 1) {
    return { fault: "give the fingerprint, or the issuer and the serial number, or the subject" };
  }
  if (fingerprint !== undefined) {
    const plain = fingerprint.replaceAll(/[:\s]/g, "").toLowerCase();
    if (/^[0-9a-f]{64}$/.test(plain)) return { match: `fingerprint ${plain}` };
    return { fault: "the fingerprint is the SHA-256 of the certificate: 64 hexadecimal digits" };
  }
  const [what, text] = subject === undefined ? ["issuer", issuer] : ["subject", subject];
  if (!isName(text ?? "")) {
    return { fault: `the ${what} is a name such as "CN=vcenter.example, O=Example"` };
  }
  const name = plainName(text ?? "");
  if (subject !== undefined) return { match: `subject ${name}` };
  const plain = plainSerial(serial ?? "");
  if (/^[0-9a-f]{1,128}$/.test(plain)) return { match: `serial ${plain} ${name}` };
  return { fault: "the serial number of the certificate is hexadecimal digits" };
}

/** What the text of a denial names, in the form in which it is compared. */
export function deniedParts(match: string): DeniedParts {
  const [by, rest] = divided(match);
  if (by === "fingerprint") return { fingerprint: rest };
  if (by === "subject") return { subject: rest };
  const [serial, issuer] = divided(rest);
  return { serial, issuer };
}

/** A name as OpenSSL prints it may begin with what it is. */
function withoutLabel(text: string | undefined): string | undefined {
  return text?.replace(/^\s*(subject|issuer)\s*[=:]/i, "");
}

/** A text before and after its first space. */
function divided(text: string): readonly [string, string] {
  const at = text.indexOf(" ");
  return [text.slice(0, at), text.slice(at + 1)];
}

/** A serial number without colons and leading zeros. */
function plainSerial(text: string): string {
  return text
    .replaceAll(/[:\s]/g, "")
    .toLowerCase()
    .replace(/^(0x)?0*(?=.)/, "");
}

/** Attribute types by the name that Node prints, in lower case: what other programs print (OpenSSL, Java, Windows). */
const typeNames: Readonly<Record<string, readonly string[]>> = {
  businesscategory: ["2.5.4.15"],
  c: ["countryname", "2.5.4.6"],
  cn: ["commonname", "2.5.4.3"],
  dc: ["domaincomponent", "0.9.2342.19200300.100.1.25"],
  description: ["2.5.4.13"],
  dnqualifier: ["dnq", "2.5.4.46"],
  emailaddress: ["e", "email", "1.2.840.113549.1.9.1"],
  generationqualifier: ["generation", "2.5.4.44"],
  gn: ["g", "givenname", "2.5.4.42"],
  initials: ["i", "2.5.4.43"],
  jurisdictionc: ["jurisdictioncountryname", "1.3.6.1.4.1.311.60.2.1.3"],
  jurisdictionl: ["jurisdictionlocalityname", "1.3.6.1.4.1.311.60.2.1.1"],
  jurisdictionst: ["jurisdictionstateorprovincename", "1.3.6.1.4.1.311.60.2.1.2"],
  l: ["localityname", "2.5.4.7"],
  name: ["2.5.4.41"],
  o: ["organizationname", "2.5.4.10"],
  organizationidentifier: ["2.5.4.97"],
  ou: ["organizationalunitname", "2.5.4.11"],
  postalcode: ["2.5.4.17"],
  pseudonym: ["2.5.4.65"],
  serialnumber: ["2.5.4.5"],
  sn: ["surname", "2.5.4.4"],
  st: ["s", "stateorprovincename", "2.5.4.8"],
  street: ["streetaddress", "2.5.4.9"],
  telephonenumber: ["phone", "2.5.4.20"],
  title: ["t", "2.5.4.12"],
  uid: ["userid", "0.9.2342.19200300.100.1.1"],
  unstructuredname: ["1.2.840.113549.1.9.2"],
};
const typeOf = new Map(
  Object.entries(typeNames).flatMap(([name, others]) => others.map((other) => [other, name])),
);

const type = String.raw`(?:[A-Za-z][\w.-]*|\d[\d.]*)\s*=`;
/** A separator is one only before the next attribute: OpenSSL also prints values with commas that are not escaped. */
const attribute = new RegExp(
  String.raw`(?:^|[,+;\n])\s*(${type})[^\S\n]*("(?:\\.|[^"\\])*"|(?:\\.|(?![,+;\n]\s*${type})[^\\])*)`,
  "gs",
);
const wholeName = new RegExp(String.raw`^\s*${type}`);

/**
 * A distinguished name in one form, however a program prints it: OpenSSL, Node and Java differ in the order of the
 * attributes, in spaces, separators, escapes and names of types. RFC 5280 (7.1) compares names without
 * regard to case, and in Unicode's form NFKC (RFC 4518, 2.3).
 */
function plainName(text: string): string {
  const all = attributesOf(text).map(([name, value]) => `${name}=${value}`);
  return all.toSorted().join(",");
}

function attributesOf(text: string): readonly (readonly [name: string, value: string])[] {
  // An escaped space belongs to its value: it must not be read as part of the separator that follows.
  const line = text.replaceAll(/\\(.)|\s+/gs, (found, escaped: string | undefined) => {
    if (escaped !== undefined) return /\s/.test(escaped) ? String.raw`\20` : found;
    return found.includes("\n") ? "\n" : " ";
  });
  return [...line.matchAll(attribute)].map(([, name = "", value = ""]) => {
    const plain = name
      .slice(0, -1)
      .trim()
      .toLowerCase()
      .replace(/^oid\./, "");
    return [typeOf.get(plain) ?? plain, plainValue(value)];
  });
}

function plainValue(text: string): string {
  const inner = text.trim().replace(/^"(.*)"$/s, "$1");
  return inner
    .replaceAll(/((?:\\[0-9a-f]{2})+)|\\(.)/gis, (_, hex: string | undefined, one: string) =>
      hex === undefined ? one : Buffer.from(hex.replaceAll("\\", ""), "hex").toString("utf8"),
    )
    .normalize("NFKC")
    .replaceAll(/\s+/g, " ")
    .trim()
    .toLowerCase()
    .replaceAll(/[\\,+;"]/g, "\\$&");
}

/** Whether a text is a distinguished name, and none of its values is empty. */
function isName(text: string): boolean {
  const all = attributesOf(text);
  return wholeName.test(text) && all.length > 0 && all.every(([, value]) => value !== "");
}
