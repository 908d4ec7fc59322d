import { ItemType } from "@holdfast/ttlv";
import { KmipError } from "../schema/faults.ts";
import { identifierReference } from "../schema/identifier.ts";
import { many, optional, required, struct } from "../schema/schema.ts";
import {
  anyItem,
  bytes,
  enumeration,
  integer,
  text,
  type ValueType,
} from "../schema/value-type.ts";

/** KMIP 2.1, 4.32 Name. */
export const name = struct("Name", {
  value: required("NameValue", text),
  type: required("NameType", enumeration("NameType")),
});

/** KMIP 2.1, 4.2 Alternative Name. */
export const alternativeName = struct("Alternative Name", {
  value: required("AlternativeNameValue", text),
  type: required("AlternativeNameType", enumeration("AlternativeNameType")),
});

/** KMIP 2.1, 4.53 Rotate Name. */
export const rotateName = struct("Rotate Name", {
  value: required("RotateNameValue", text),
  type: required("RotateNameType", enumeration("RotateNameType")),
});

/** KMIP 2.1, 4.4 Application Specific Information; without data, the server makes it. */
export const applicationSpecificInformation = struct("Application Specific Information", {
  namespace: required("ApplicationNamespace", text),
  data: optional("ApplicationData", text),
});

/** KMIP 2.1, 4.14 Cryptographic Domain Parameters. */
export const cryptographicDomainParameters = struct("Cryptographic Domain Parameters", {
  qlength: optional("Qlength", integer),
  recommendedCurve: optional("RecommendedCurve", enumeration("RecommendedCurve")),
});

/** KMIP 2.1, 4.21 Digest; 1.0 has no Key Format Type. */
export const digest = struct("Digest", {
  hashingAlgorithm: required("HashingAlgorithm", enumeration("HashingAlgorithm")),
  digestValue: optional("DigestValue", bytes),
  keyFormatType: optional("KeyFormatType", enumeration("KeyFormatType"), { since: "1.1" }),
});

/** KMIP 2.1, 4.27 Key Value Location. */
export const keyValueLocation = struct("Key Value Location", {
  value: required("KeyValueLocationValue", text),
  type: required("KeyValueLocationType", enumeration("KeyValueLocationType")),
});

/** KMIP 2.1, 4.31 Link. */
export const link = struct("Link", {
  type: required("LinkType", enumeration("LinkType")),
  linkedObjectIdentifier: required("LinkedObjectIdentifier", identifierReference),
});

/** KMIP 1.4, 3.13 Certificate Identifier. */
export const certificateIdentifier = struct("Certificate Identifier", {
  issuer: required("Issuer", text),
  serialNumber: optional("SerialNumber", text),
});

/** KMIP 1.4, 3.14 Certificate Subject. */
export const certificateSubject = struct("Certificate Subject", {
  distinguishedName: required("CertificateSubjectDistinguishedName", text),
  alternativeNames: many("CertificateSubjectAlternativeName", text),
});

/** KMIP 1.4, 3.15 Certificate Issuer. */
export const certificateIssuer = struct("Certificate Issuer", {
  distinguishedName: required("CertificateIssuerDistinguishedName", text),
  alternativeNames: many("CertificateIssuerAlternativeName", text),
});

/** KMIP 2.1, 4.61 X.509 Certificate Identifier. */
export const x509CertificateIdentifier = struct("X.509 Certificate Identifier", {
  issuerDistinguishedName: required("IssuerDistinguishedName", bytes),
  serialNumber: required("CertificateSerialNumber", bytes),
});

/** KMIP 2.1, 4.62 X.509 Certificate Issuer. */
export const x509CertificateIssuer = struct("X.509 Certificate Issuer", {
  distinguishedName: required("IssuerDistinguishedName", bytes),
  alternativeNames: many("IssuerAlternativeName", bytes),
});

/** KMIP 2.1, 4.63 X.509 Certificate Subject. */
export const x509CertificateSubject = struct("X.509 Certificate Subject", {
  distinguishedName: required("SubjectDistinguishedName", bytes),
  alternativeNames: many("SubjectAlternativeName", bytes),
});

const vendorIdentification: ValueType<string> = {
  ...text,
  decode: (item, version) => {
    const value = text.decode(item, version);
    if (/^[A-Za-z0-9_.]+$/.test(value)) return value;
    throw new KmipError("invalidField", "Vendor Identification has invalid characters");
  },
};

/** KMIP 2.1, 4.60 Vendor Attribute; the value is an item of any type under Attribute Value. */
export const vendorAttribute = struct("Vendor Attribute", {
  vendorIdentification: required("VendorIdentification", vendorIdentification),
  name: required("AttributeName", text),
  value: required("AttributeValue", anyItem),
});

/** KMIP 2.1, 5.5: an Attribute Reference to a Vendor Attribute. */
export const vendorReference = struct("Attribute Reference", {
  vendorIdentification: required("VendorIdentification", vendorIdentification),
  name: required("AttributeName", text),
});

/** KMIP 2.1, 11.35: Opaque Data Type has only extension values, so it remains a number. */
export const opaqueDataType: ValueType<number> = {
  itemType: ItemType.Enumeration,
  decode: (item) => {
    if (item.type === ItemType.Enumeration) return item.value;
    throw new KmipError("invalidMessage", "Opaque Data Type must be an Enumeration");
  },
  encode: (tag, value) => ({ tag, type: ItemType.Enumeration, value }),
};
