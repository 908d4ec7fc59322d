import { identifierReference } from "../schema/identifier.ts";
import {
  cryptographicParameters,
  revocationReason,
  rngParameters,
  usageLimits,
} from "../schema/structures.ts";
import {
  boolean,
  bytes,
  dateTime,
  enumeration,
  integer,
  interval,
  mask,
  text,
  type ValueType,
} from "../schema/value-type.ts";
import { type AttributeRow, type ObjectTypeName, row } from "./attribute-row.ts";
import {
  alternativeName,
  applicationSpecificInformation,
  certificateIdentifier,
  certificateIssuer,
  certificateSubject,
  cryptographicDomainParameters,
  digest,
  keyValueLocation,
  link,
  name,
  opaqueDataType,
  rotateName,
  vendorAttribute,
  x509CertificateIdentifier,
  x509CertificateIssuer,
  x509CertificateSubject,
} from "./attribute-structures.ts";

/** The server sets it, and no client may change it. */
const server = { multi: false, setBy: "server", modifiable: false, deletable: false } as const;
/** Set once, by the client or by the server. */
const once = { ...server, setBy: "either" } as const;
const planned = { ...once, modifiable: true } as const;
const freely = { ...planned, deletable: true } as const;
const byClient = { ...freely, setBy: "client" } as const;
const several = { multi: true } as const;

const keys = ["SymmetricKey", "PublicKey", "PrivateKey", "SplitKey", "PGPKey"] as const;
const symmetric = ["SymmetricKey", "SplitKey"] as const;
const withKeyValue = ["SymmetricKey", "PrivateKey", "SplitKey", "SecretData"] as const;
const cryptographic = [...keys, "Certificate", "SecretData"] as const;

/** The object types that have it in 1.x; in 2.x all have it. */
const of1 = (...objectTypes1: readonly ObjectTypeName[]) => ({ objectTypes1 });
const certificates = { objectTypes: ["Certificate"] } as const;
/** A field of a certificate's subject or issuer (KMIP 2.1, 4.6). */
const certificateField = { ...server, ...several, ...certificates, section: "4.6" } as const;

/** All attributes of KMIP 1.0 to 2.1 (KMIP 2.1, 4; KMIP 1.4, 3). */
export const attributes = {
  UniqueIdentifier: row("UniqueIdentifier", identifierReference, { ...server, section: "4.58" }),
  ShortUniqueIdentifier: row("ShortUniqueIdentifier", bytes, { ...server, section: "4.56" }),
  Name: row("Name", name, { ...byClient, ...several, section: "4.32" }),
  AlternativeName: row("AlternativeName", alternativeName, {
    ...byClient,
    ...several,
    section: "4.2",
  }),
  ObjectType: row("ObjectType", enumeration("ObjectType"), { ...server, section: "4.36" }),
  CryptographicAlgorithm: row("CryptographicAlgorithm", enumeration("CryptographicAlgorithm"), {
    ...server,
    ...of1(...keys, "Certificate", "Template", "SecretData"),
    atCreation: true,
    section: "4.13",
    doc: "1.x does not list Secret Data, later versions do",
  }),
  CryptographicLength: row("CryptographicLength", integer, {
    ...server,
    ...of1(...keys, "Certificate", "Template", "SecretData"),
    atCreation: true,
    section: "4.15",
    doc: "1.x does not list Secret Data, but 1.4 creates it by its length",
  }),
  CryptographicParameters: row("CryptographicParameters", cryptographicParameters, {
    ...byClient,
    ...several,
    ...of1(...keys, "Certificate", "Template"),
    section: "4.16",
  }),
  CryptographicDomainParameters: row(
    "CryptographicDomainParameters",
    cryptographicDomainParameters,
    {
      ...once,
      setBy: "client",
      objectTypes: ["PublicKey", "PrivateKey"],
      ...of1("PublicKey", "PrivateKey", "Template"),
      section: "4.14",
    },
  ),
  CertificateType: row("CertificateType", enumeration("CertificateType"), {
    ...server,
    ...certificates,
    atCreation: true,
    section: "4.7",
  }),
  CertificateLength: row("CertificateLength", integer, {
    ...server,
    ...certificates,
    section: "4.8",
  }),
  X_509CertificateIdentifier: row("X_509CertificateIdentifier", x509CertificateIdentifier, {
    ...server,
    ...certificates,
    section: "4.61",
  }),
  X_509CertificateSubject: row("X_509CertificateSubject", x509CertificateSubject, {
    ...server,
    ...certificates,
    section: "4.63",
  }),
  X_509CertificateIssuer: row("X_509CertificateIssuer", x509CertificateIssuer, {
    ...server,
    ...certificates,
    section: "4.62",
  }),
  CertificateIdentifier: row("CertificateIdentifier", certificateIdentifier, {
    ...server,
    ...certificates,
    section: "1.4, 3.13",
  }),
  CertificateSubject: row("CertificateSubject", certificateSubject, {
    ...server,
    ...certificates,
    section: "1.4, 3.14",
  }),
  CertificateIssuer: row("CertificateIssuer", certificateIssuer, {
    ...server,
    ...certificates,
    section: "1.4, 3.15",
  }),
  CertificateSubjectCN: row("CertificateSubjectCN", text, certificateField),
  CertificateSubjectO: row("CertificateSubjectO", text, certificateField),
  CertificateSubjectOU: row("CertificateSubjectOU", text, certificateField),
  CertificateSubjectEmail: row("CertificateSubjectEmail", text, certificateField),
  CertificateSubjectC: row("CertificateSubjectC", text, certificateField),
  CertificateSubjectST: row("CertificateSubjectST", text, certificateField),
  CertificateSubjectL: row("CertificateSubjectL", text, certificateField),
  CertificateSubjectUID: row("CertificateSubjectUID", text, certificateField),
  CertificateSubjectSerialNumber: row("CertificateSubjectSerialNumber", text, certificateField),
  CertificateSubjectTitle: row("CertificateSubjectTitle", text, certificateField),
  CertificateSubjectDC: row("CertificateSubjectDC", text, certificateField),
  CertificateSubjectDNQualifier: row("CertificateSubjectDNQualifier", text, certificateField),
  CertificateIssuerCN: row("CertificateIssuerCN", text, certificateField),
  CertificateIssuerO: row("CertificateIssuerO", text, certificateField),
  CertificateIssuerOU: row("CertificateIssuerOU", text, certificateField),
  CertificateIssuerEmail: row("CertificateIssuerEmail", text, certificateField),
  CertificateIssuerC: row("CertificateIssuerC", text, certificateField),
  CertificateIssuerST: row("CertificateIssuerST", text, certificateField),
  CertificateIssuerL: row("CertificateIssuerL", text, certificateField),
  CertificateIssuerUID: row("CertificateIssuerUID", text, certificateField),
  CertificateIssuerSerialNumber: row("CertificateIssuerSerialNumber", text, certificateField),
  CertificateIssuerTitle: row("CertificateIssuerTitle", text, certificateField),
  CertificateIssuerDC: row("CertificateIssuerDC", text, certificateField),
  CertificateIssuerDNQualifier: row("CertificateIssuerDNQualifier", text, certificateField),
  DigitalSignatureAlgorithm: row(
    "DigitalSignatureAlgorithm",
    enumeration("DigitalSignatureAlgorithm"),
    {
      ...server,
      ...several,
      objectTypes: ["Certificate", "PGPKey"],
      section: "4.22",
      doc: "only one for X.509 certificates",
    },
  ),
  Digest: row("Digest", digest, {
    ...server,
    ...several,
    ...of1(...cryptographic, "OpaqueObject"),
    section: "4.21",
  }),
  OperationPolicyName: row("OperationPolicyName", text, { ...once, section: "1.4, 3.18" }),
  CryptographicUsageMask: row("CryptographicUsageMask", mask("CryptographicUsageMask"), {
    ...once,
    ...of1(...cryptographic, "Template"),
    section: "4.17",
  }),
  LeaseTime: row("LeaseTime", interval, {
    ...server,
    section: "4.30",
    doc: "1.x lists cryptographic objects, but its test cases show it for Templates too",
  }),
  UsageLimits: row("UsageLimits", usageLimits, {
    ...freely,
    ...of1(...keys, "Template"),
    section: "4.59",
    doc: "the server counts; fixed once usage was allocated",
  }),
  State: row("State", enumeration("State"), {
    ...server,
    ...of1(...cryptographic),
    section: "4.57",
  }),
  InitialDate: row("InitialDate", dateTime, { ...server, section: "4.25" }),
  ActivationDate: row("ActivationDate", dateTime, {
    ...planned,
    ...of1(...cryptographic, "Template"),
    section: "4.1",
    doc: "modifiable while Pre-Active",
  }),
  ProcessStartDate: row("ProcessStartDate", dateTime, {
    ...planned,
    ...of1(...symmetric, "Template"),
    section: "4.40",
    doc: "modifiable while Pre-Active or Active, until reached",
  }),
  ProtectStopDate: row("ProtectStopDate", dateTime, {
    ...planned,
    ...of1(...symmetric, "Template"),
    section: "4.41",
    doc: "modifiable while Pre-Active or Active, until reached",
  }),
  DeactivationDate: row("DeactivationDate", dateTime, {
    ...planned,
    ...of1(...cryptographic, "Template"),
    section: "4.18",
    doc: "modifiable while Pre-Active or Active",
  }),
  DestroyDate: row("DestroyDate", dateTime, {
    ...server,
    ...of1(...cryptographic, "OpaqueObject"),
    section: "4.20",
  }),
  CompromiseOccurrenceDate: row("CompromiseOccurrenceDate", dateTime, {
    ...server,
    ...of1(...cryptographic, "OpaqueObject"),
    section: "4.11",
  }),
  CompromiseDate: row("CompromiseDate", dateTime, {
    ...server,
    ...of1(...cryptographic, "OpaqueObject"),
    section: "4.10",
  }),
  RevocationReason: row("RevocationReason", revocationReason, {
    ...server,
    ...of1(...cryptographic, "OpaqueObject"),
    section: "4.47",
  }),
  ArchiveDate: row("ArchiveDate", dateTime, { ...server, section: "4.5" }),
  ObjectGroup: row("ObjectGroup", text, { ...freely, ...several, section: "4.35" }),
  Fresh: row("Fresh", boolean, { ...once, ...of1(...cryptographic), section: "4.24" }),
  Link: row("Link", link, {
    ...freely,
    ...several,
    ...of1(...cryptographic),
    section: "4.31",
  }),
  ApplicationSpecificInformation: row(
    "ApplicationSpecificInformation",
    applicationSpecificInformation,
    { ...freely, ...several, section: "4.4" },
  ),
  ContactInformation: row("ContactInformation", text, { ...freely, section: "4.12" }),
  LastChangeDate: row("LastChangeDate", dateTime, { ...server, section: "4.29" }),
  VendorAttribute: {
    ...row("Attribute", vendorAttribute, { ...freely, ...several, section: "4.60" }),
    name: "Vendor Attribute",
    doc: "1.x Custom Attribute: x- is the client's, y- the server's",
  },
  KeyValuePresent: row("KeyValuePresent", boolean, {
    ...server,
    ...of1(...withKeyValue),
    section: "4.28",
  }),
  KeyValueLocation: row("KeyValueLocation", keyValueLocation, {
    ...byClient,
    ...several,
    ...of1(...withKeyValue),
    section: "4.27",
  }),
  OriginalCreationDate: row("OriginalCreationDate", dateTime, { ...once, section: "4.38" }),
  RandomNumberGenerator: row("RandomNumberGenerator", rngParameters, {
    ...once,
    ...of1(...cryptographic),
    section: "4.46",
  }),
  PKCS_12FriendlyName: row("PKCS_12FriendlyName", text, {
    ...freely,
    ...of1(...cryptographic),
    section: "4.39",
  }),
  Description: row("Description", text, { ...freely, section: "4.19" }),
  Comment: row("Comment", text, { ...freely, section: "4.9" }),
  Sensitive: row("Sensitive", boolean, { ...planned, section: "4.55" }),
  AlwaysSensitive: row("AlwaysSensitive", boolean, { ...server, section: "4.3" }),
  Extractable: row("Extractable", boolean, { ...planned, section: "4.23" }),
  NeverExtractable: row("NeverExtractable", boolean, { ...server, section: "4.33" }),
  KeyFormatType: row("KeyFormatType", enumeration("KeyFormatType"), {
    ...server,
    since: "2.0",
    atCreation: true,
    section: "4.26",
  }),
  NISTKeyType: row("NISTKeyType", enumeration("NISTKeyType"), {
    ...once,
    ...several,
    setBy: "client",
    section: "4.34",
  }),
  OpaqueDataType: row("OpaqueDataType", opaqueDataType, {
    ...server,
    since: "2.0",
    atCreation: true,
    objectTypes: ["OpaqueObject"],
    section: "4.37",
  }),
  ProtectionLevel: row("ProtectionLevel", enumeration("ProtectionLevel"), {
    ...byClient,
    section: "4.42",
  }),
  ProtectionPeriod: row("ProtectionPeriod", interval, { ...byClient, section: "4.43" }),
  ProtectionStorageMask: row("ProtectionStorageMask", mask("ProtectionStorageMask"), {
    ...server,
    section: "4.44",
  }),
  QuantumSafe: row("QuantumSafe", boolean, { ...byClient, section: "4.45" }),
  RotateAutomatic: row("RotateAutomatic", boolean, { ...once, section: "4.48" }),
  RotateDate: row("RotateDate", dateTime, { ...server, section: "4.49" }),
  RotateGeneration: row("RotateGeneration", integer, { ...server, section: "4.50" }),
  RotateInterval: row("RotateInterval", interval, { ...once, section: "4.51" }),
  RotateLatest: row("RotateLatest", boolean, { ...server, section: "4.52" }),
  RotateName: row("RotateName", rotateName, { ...byClient, section: "4.53" }),
  RotateOffset: row("RotateOffset", interval, { ...once, section: "4.54" }),
} as const satisfies Record<string, AttributeRow>;

export type AttributeName = keyof typeof attributes;
/** What an attribute's value decodes to. */
export type AttributeValue<N extends AttributeName> = (typeof attributes)[N] extends {
  readonly type: ValueType<infer Value>;
}
  ? Value
  : never;
