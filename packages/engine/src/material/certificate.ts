import { type KeyObject, X509Certificate } from "node:crypto";
import { attributeItem, type enumerations, KmipError, type TagName, tags } from "@holdfast/kmip";
import { byteString, enumeration, type Item, integer, structure, textString } from "@holdfast/ttlv";
import { enumerationValue } from "../base/enumeration-value.ts";
import { asymmetricKey, keyDerBytesMax } from "./asymmetric-key.ts";
import { type Der, DerError, derOne, derTags, derValues, objectIdentifier } from "./der.ts";
import {
  type NameAttribute,
  nameAttributeOf,
  nameText,
  relativeNames,
} from "./distinguished-name.ts";

/** The parts of a certificate that are read, in DER. */
interface Parts {
  readonly serialNumber: Der;
  readonly signatureAlgorithm: string;
  readonly issuer: Der;
  readonly subject: Der;
  readonly publicKeyBytes: number;
  readonly issuerAlternativeNames: readonly Uint8Array[];
  readonly subjectAlternativeNames: readonly Uint8Array[];
}

const signatureAlgorithms: Readonly<
  Record<string, keyof (typeof enumerations)["DigitalSignatureAlgorithm"]>
> = {
  "1.2.840.113549.1.1.2": "MD2WithRSAEncryption",
  "1.2.840.113549.1.1.4": "MD5WithRSAEncryption",
  "1.2.840.113549.1.1.5": "SHA_1WithRSAEncryption",
  "1.2.840.113549.1.1.14": "SHA_224WithRSAEncryption",
  "1.2.840.113549.1.1.11": "SHA_256WithRSAEncryption",
  "1.2.840.113549.1.1.12": "SHA_384WithRSAEncryption",
  "1.2.840.113549.1.1.13": "SHA_512WithRSAEncryption",
  "1.2.840.113549.1.1.10": "RSASSA_PSS",
  "1.2.840.10040.4.3": "DSAWithSHA_1",
  "2.16.840.1.101.3.4.3.1": "DSAWithSHA224",
  "2.16.840.1.101.3.4.3.2": "DSAWithSHA256",
  "1.2.840.10045.4.1": "ECDSAWithSHA_1",
  "1.2.840.10045.4.3.1": "ECDSAWithSHA224",
  "1.2.840.10045.4.3.2": "ECDSAWithSHA256",
  "1.2.840.10045.4.3.3": "ECDSAWithSHA384",
  "1.2.840.10045.4.3.4": "ECDSAWithSHA512",
  "2.16.840.1.101.3.4.3.14": "SHA3_256WithRSAEncryption",
  "2.16.840.1.101.3.4.3.15": "SHA3_384WithRSAEncryption",
  "2.16.840.1.101.3.4.3.16": "SHA3_512WithRSAEncryption",
};

/** Most names in a certificate: each becomes an attribute or a part of one, which every read of the object carries. */
const namesMax = 10_000;

const extensions = { subjectAlternativeName: "2.5.29.17", issuerAlternativeName: "2.5.29.18" };

/**
 * The attributes that the server sets for a registered X.509 certificate (KMIP 2.1, 4.6 to 4.8, 4.13, 4.15, 4.22,
 * 4.61 to 4.63; KMIP 1.4, 3.9 to 3.15). Refuses any other input.
 */
export function certificateItems(value: Uint8Array): readonly Item[] {
  const { parts, key } = read(value);
  const subject = relativeNames(parts.subject);
  const issuer = relativeNames(parts.issuer);
  checkNames([...subject, ...issuer, parts.subjectAlternativeNames, parts.issuerAlternativeNames]);
  return [
    integer(tags.CertificateLength.tag, value.length),
    ...keyItems(key),
    ...signatureItems(parts.signatureAlgorithm),
    structure(tags.X_509CertificateIdentifier.tag, [
      byteString(tags.IssuerDistinguishedName.tag, parts.issuer.encoded),
      byteString(tags.CertificateSerialNumber.tag, parts.serialNumber.encoded),
    ]),
    structure(tags.X_509CertificateIssuer.tag, [
      byteString(tags.IssuerDistinguishedName.tag, parts.issuer.encoded),
      ...parts.issuerAlternativeNames.map((name) =>
        byteString(tags.IssuerAlternativeName.tag, name),
      ),
    ]),
    structure(tags.X_509CertificateSubject.tag, [
      byteString(tags.SubjectDistinguishedName.tag, parts.subject.encoded),
      ...parts.subjectAlternativeNames.map((name) =>
        byteString(tags.SubjectAlternativeName.tag, name),
      ),
    ]),
    ...textForms(parts, nameText(issuer), nameText(subject)),
    ...fieldItems("CertificateSubject", subject),
    ...fieldItems("CertificateIssuer", issuer),
  ];
}

function checkNames(names: readonly (readonly unknown[])[]): void {
  const count = names.reduce((sum, parts) => sum + parts.length, 0);
  if (count <= namesMax) return;
  throw new KmipError("invalidField", `a certificate has at most ${namesMax} names`);
}

function read(value: Uint8Array): { parts: Parts; key: KeyObject | undefined } {
  try {
    const parts = partsOf(value);
    const certificate = new X509Certificate(value);
    const looksIn = parts.publicKeyBytes <= keyDerBytesMax;
    return { parts, key: looksIn ? publicKeyOf(certificate) : undefined };
  } catch (error) {
    const known = error instanceof DerError || (error instanceof Error && "code" in error);
    if (!known) throw error;
    throw new KmipError("invalidField", "the Certificate Value is not an X.509 certificate", {
      cause: error,
    });
  }
}

/** The public key; undefined, and without attributes, if the platform does not know its kind. */
function publicKeyOf(certificate: X509Certificate): KeyObject | undefined {
  try {
    return certificate.publicKey;
  } catch {
    return undefined;
  }
}

/** RFC 5280, 4.1. */
function partsOf(value: Uint8Array): Parts {
  const [toBeSigned] = derValues(derOne(value, derTags.Sequence).content);
  if (toBeSigned?.tag !== derTags.Sequence) throw new DerError("not a certificate");
  const fields = derValues(toBeSigned.content);
  const version = fields[0]?.tag === 0xa0 ? 1 : 0;
  const [serialNumber, signature, issuer, , subject, publicKey] = fields.slice(version);
  if (
    serialNumber?.tag !== derTags.Integer ||
    signature?.tag !== derTags.Sequence ||
    issuer?.tag !== derTags.Sequence ||
    subject?.tag !== derTags.Sequence
  ) {
    throw new DerError("not a certificate");
  }
  const [algorithm] = derValues(signature.content);
  if (algorithm?.tag !== derTags.ObjectIdentifier) throw new DerError("no signature algorithm");
  const list = fields.find((field) => field.tag === 0xa3);
  return {
    serialNumber,
    signatureAlgorithm: objectIdentifier(algorithm.content),
    issuer,
    subject,
    publicKeyBytes: publicKey?.encoded.length ?? 0,
    issuerAlternativeNames: alternativeNames(list, extensions.issuerAlternativeName),
    subjectAlternativeNames: alternativeNames(list, extensions.subjectAlternativeName),
  };
}

/** Each GeneralName of an extension, as DER (RFC 5280, 4.2.1.6). */
function alternativeNames(list: Der | undefined, wanted: string): readonly Uint8Array[] {
  if (list === undefined) return [];
  for (const extension of derValues(derOne(list.content, derTags.Sequence).content)) {
    const [type, ...rest] = derValues(extension.content);
    const value = rest.at(-1);
    if (type === undefined || value?.tag !== derTags.OctetString) continue;
    if (objectIdentifier(type.content) !== wanted) continue;
    const names = derValues(derOne(value.content, derTags.Sequence).content);
    return names.map((name) => name.encoded);
  }
  return [];
}

/** The attributes of the certificate's public key (KMIP 2.1, 4.13 and 4.15). */
function keyItems(key: KeyObject | undefined): readonly Item[] {
  const known = asymmetricKey(key);
  if (known === undefined) return [];
  const { algorithm, length } = known;
  const item = attributeItem("CryptographicAlgorithm", algorithm);
  return length === undefined ? [item] : [item, attributeItem("CryptographicLength", length)];
}

function signatureItems(algorithm: string): readonly Item[] {
  const name = signatureAlgorithms[algorithm];
  if (name === undefined) return [];
  const value = enumerationValue("DigitalSignatureAlgorithm", name);
  return [enumeration(tags.DigitalSignatureAlgorithm.tag, value)];
}

/** The text forms of 1.x (KMIP 1.4, 3.13 to 3.15). */
function textForms(parts: Parts, issuer: string, subject: string): readonly Item[] {
  const serialNumber = Buffer.from(parts.serialNumber.content).toString("hex");
  return [
    structure(tags.CertificateIdentifier.tag, [
      textString(tags.Issuer.tag, issuer),
      textString(tags.SerialNumber.tag, serialNumber),
    ]),
    structure(tags.CertificateIssuer.tag, [
      textString(tags.CertificateIssuerDistinguishedName.tag, issuer),
    ]),
    structure(tags.CertificateSubject.tag, [
      textString(tags.CertificateSubjectDistinguishedName.tag, subject),
    ]),
  ];
}

/** One item for each attribute of a name that KMIP knows (KMIP 2.1, 4.6). */
function fieldItems(
  owner: "CertificateSubject" | "CertificateIssuer",
  names: readonly (readonly NameAttribute[])[],
): readonly Item[] {
  return names.flat().flatMap(({ type, text }) => {
    const name = nameAttributeOf(type);
    if (name === undefined) return [];
    const tagName = `${owner}${name}` satisfies TagName;
    return [textString(tags[tagName].tag, text)];
  });
}
