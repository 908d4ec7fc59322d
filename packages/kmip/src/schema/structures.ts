import { ItemType } from "@holdfast/ttlv";
import { byVersion, many, optional, required, struct } from "./schema.ts";
import {
  boolean,
  bytes,
  type EnumerationText,
  enumeration,
  integer,
  longInteger,
  mask,
  text,
  type ValueType,
} from "./value-type.ts";

/** KMIP 2.1, 9.9 Protocol Version. */
export const protocolVersion = struct("Protocol Version", {
  major: required("ProtocolVersionMajor", integer),
  minor: required("ProtocolVersionMinor", integer),
});

/** KMIP 2.1, 7.8 Cryptographic Parameters: an attribute, and part of other structures. */
export const cryptographicParameters = struct("Cryptographic Parameters", {
  blockCipherMode: optional("BlockCipherMode", enumeration("BlockCipherMode")),
  paddingMethod: optional("PaddingMethod", enumeration("PaddingMethod")),
  hashingAlgorithm: optional("HashingAlgorithm", enumeration("HashingAlgorithm")),
  keyRoleType: optional("KeyRoleType", enumeration("KeyRoleType")),
  digitalSignatureAlgorithm: optional(
    "DigitalSignatureAlgorithm",
    enumeration("DigitalSignatureAlgorithm"),
    { since: "1.2" },
  ),
  cryptographicAlgorithm: optional(
    "CryptographicAlgorithm",
    enumeration("CryptographicAlgorithm"),
    { since: "1.2" },
  ),
  randomIV: optional("RandomIV", boolean, { since: "1.2" }),
  ivLength: optional("IVLength", integer, { since: "1.2" }),
  tagLength: optional("TagLength", integer, { since: "1.2" }),
  fixedFieldLength: optional("FixedFieldLength", integer, { since: "1.2" }),
  invocationFieldLength: optional("InvocationFieldLength", integer, { since: "1.2" }),
  counterLength: optional("CounterLength", integer, { since: "1.2" }),
  initialCounterValue: optional("InitialCounterValue", integer, { since: "1.2" }),
  saltLength: optional("SaltLength", integer, { since: "1.4" }),
  maskGenerator: optional("MaskGenerator", enumeration("MaskGenerator"), { since: "1.4" }),
  maskGeneratorHashingAlgorithm: optional(
    "MaskGeneratorHashingAlgorithm",
    enumeration("HashingAlgorithm"),
    { since: "1.4" },
  ),
  pSource: optional("PSource", bytes, { since: "1.4" }),
  trailerField: optional("TrailerField", integer, { since: "1.4" }),
});

const keyInformation = {
  uniqueIdentifier: required("UniqueIdentifier", text),
  cryptographicParameters: optional("CryptographicParameters", cryptographicParameters),
};
const encryptionKeyInformation = struct("Encryption Key Information", keyInformation);
const macSignatureKeyInformation = struct("MAC/Signature Key Information", keyInformation);

/** KMIP 2.1, 3.1.4 Key Wrapping Specification. */
export const keyWrappingSpecification = struct("Key Wrapping Specification", {
  wrappingMethod: required("WrappingMethod", enumeration("WrappingMethod")),
  encryptionKeyInformation: optional("EncryptionKeyInformation", encryptionKeyInformation),
  macSignatureKeyInformation: optional("MACSignatureKeyInformation", macSignatureKeyInformation),
  attributeNames: many("AttributeName", text),
  encodingOption: optional("EncodingOption", enumeration("EncodingOption"), { since: "1.1" }),
});

/** KMIP 2.1, 3.1.3 Key Wrapping Data. */
export const keyWrappingData = struct("Key Wrapping Data", {
  wrappingMethod: required("WrappingMethod", enumeration("WrappingMethod")),
  encryptionKeyInformation: optional("EncryptionKeyInformation", encryptionKeyInformation),
  macSignatureKeyInformation: optional("MACSignatureKeyInformation", macSignatureKeyInformation),
  macSignature: optional("MACSignature", bytes),
  ivCounterNonce: optional("IVCounterNonce", bytes),
  encodingOption: optional("EncodingOption", enumeration("EncodingOption"), { since: "1.1" }),
});

/** KMIP 2.1, 4.45 Revocation Reason. */
export const revocationReason = struct("Revocation Reason", {
  code: required("RevocationReasonCode", enumeration("RevocationReasonCode")),
  message: optional("RevocationMessage", text),
});

/** KMIP 2.1, 4.60 Usage Limits. */
export const usageLimits = struct("Usage Limits", {
  total: required("UsageLimitsTotal", longInteger),
  count: optional("UsageLimitsCount", longInteger),
  unit: required("UsageLimitsUnit", enumeration("UsageLimitsUnit")),
});

/** KMIP 2.1, 4.37 Random Number Generator. */
export const rngParameters = struct("RNG Parameters", {
  rngAlgorithm: required("RNGAlgorithm", enumeration("RNGAlgorithm")),
  cryptographicAlgorithm: optional("CryptographicAlgorithm", enumeration("CryptographicAlgorithm")),
  cryptographicLength: optional("CryptographicLength", integer),
  hashingAlgorithm: optional("HashingAlgorithm", enumeration("HashingAlgorithm")),
  drbgAlgorithm: optional("DRBGAlgorithm", enumeration("DRBGAlgorithm")),
  recommendedCurve: optional("RecommendedCurve", enumeration("RecommendedCurve")),
  fips186Variation: optional("FIPS186Variation", enumeration("FIPS186Variation")),
  predictionResistance: optional("PredictionResistance", boolean),
});

const itemTypes = enumeration("ItemType");
/** 1.x sends the item type as an Integer, 2.x as an Enumeration with the same numbers. */
const extensionType1: ValueType<EnumerationText<"ItemType">> = {
  itemType: ItemType.Integer,
  decode: (item, version) => {
    const value = integer.decode(item, version);
    return itemTypes.decode({ ...item, type: ItemType.Enumeration, value }, "2.0");
  },
  encode: (tag, value) => {
    const item = itemTypes.encode(tag, value, "2.0");
    return item?.type === ItemType.Enumeration ? { ...item, type: ItemType.Integer } : undefined;
  },
};

/** KMIP 2.1, 7.13 Extension Information. */
export const extensionInformation = struct("Extension Information", {
  name: required("ExtensionName", text),
  tag: optional("ExtensionTag", integer),
  type: byVersion<EnumerationText<"ItemType">, "optional">(
    "optional",
    { tag: "ExtensionType", type: extensionType1, until: "1.4" },
    { tag: "ExtensionType", type: itemTypes, since: "2.0" },
  ),
  enumeration: optional("ExtensionEnumeration", integer),
  attribute: optional("ExtensionAttribute", boolean),
  parentStructureTag: optional("ExtensionParentStructureTag", integer),
  description: optional("ExtensionDescription", text),
});

/** KMIP 2.1, 7.33 Protection Storage Masks: acceptable alternatives, the best one first. */
export const protectionStorageMasks = struct("Protection Storage Masks", {
  masks: many("ProtectionStorageMask", mask("ProtectionStorageMask")),
});

/** KMIP 2.1, 7.23 Object Groups. */
export const objectGroups = struct("Object Groups", { names: many("ObjectGroup", text) });

/** KMIP 2.1, 7.27 Profile Information. */
export const profileInformation = struct("Profile Information", {
  profileName: required("ProfileName", enumeration("ProfileName")),
  profileVersion: optional(
    "ProfileVersion",
    struct("Profile Version", {
      major: required("ProfileVersionMajor", integer),
      minor: required("ProfileVersionMinor", integer),
    }),
    { since: "2.0" },
  ),
  serverURI: optional("ServerURI", text),
  serverPort: optional("ServerPort", integer),
});

/** KMIP 2.1, 7.38 Validation Information. */
export const validationInformation = struct("Validation Information", {
  authorityType: required("ValidationAuthorityType", enumeration("ValidationAuthorityType")),
  authorityCountry: optional("ValidationAuthorityCountry", text),
  authorityURI: optional("ValidationAuthorityURI", text),
  versionMajor: required("ValidationVersionMajor", integer),
  versionMinor: optional("ValidationVersionMinor", integer),
  type: required("ValidationType", enumeration("ValidationType")),
  level: required("ValidationLevel", integer),
  certificateIdentifier: optional("ValidationCertificateIdentifier", text),
  certificateURI: optional("ValidationCertificateURI", text),
  vendorURI: optional("ValidationVendorURI", text),
  profiles: many("ValidationProfile", text),
});

/** KMIP 2.1, 7.5 Capability Information. */
export const capabilityInformation = struct("Capability Information", {
  streaming: optional("StreamingCapability", boolean),
  asynchronous: optional("AsynchronousCapability", boolean),
  attestation: optional("AttestationCapability", boolean),
  batchUndo: optional("BatchUndoCapability", boolean, { since: "1.4" }),
  batchContinue: optional("BatchContinueCapability", boolean, { since: "1.4" }),
  unwrapMode: optional("UnwrapMode", enumeration("UnwrapMode")),
  destroyAction: optional("DestroyAction", enumeration("DestroyAction")),
  shreddingAlgorithm: optional("ShreddingAlgorithm", enumeration("ShreddingAlgorithm")),
  rngMode: optional("RNGMode", enumeration("RNGMode")),
  quantumSafe: optional("QuantumSafeCapability", boolean, { since: "2.0" }),
});

/** KMIP 2.1, 7.37 Server Information. Before 2.0, only vendors' fields, which are not read. */
export const serverInformation = struct(
  "Server Information",
  {
    serverName: optional("ServerName", text),
    serverSerialNumber: optional("ServerSerialNumber", text),
    serverVersion: optional("ServerVersion", text),
    serverLoad: optional("ServerLoad", text),
    productName: optional("ProductName", text),
    buildLevel: optional("BuildLevel", text),
    buildDate: optional("BuildDate", text),
    clusterInfo: optional("ClusterInfo", text),
    alternateFailoverEndpoints: many("AlternateFailoverEndpoints", text),
  },
  { open: true },
);
