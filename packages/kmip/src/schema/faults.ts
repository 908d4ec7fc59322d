import { enumerations, type ValueRow } from "./enums.ts";
import { type Version, within } from "./version.ts";

/** KMIP 2.1, 11.46 Result Reason. */
export type ResultReason = keyof (typeof enumerations)["ResultReason"];

/** The Result Reason in 1.x and in 2.x, and in 2.0 if it differs from 2.1. */
interface Reasons {
  readonly v1: ResultReason;
  readonly v2: ResultReason;
  readonly v20?: ResultReason;
}

/** Reasons of an operation's own error table that differ from the fault's row. */
export type OperationErrors = Readonly<Partial<Record<Fault, Partial<Reasons>>>>;

/**
 * One row per cause of a failed request, with its Result Reason from the error tables (KMIP 1.0 to
 * 1.4, 11; KMIP 2.0 and 2.1, 6.1). `olderReasons` replaces a reason that an older version lacks.
 */
export const faults = {
  /* The message. */
  codecError: { v1: "InvalidMessage", v2: "CodecError" },
  invalidMessage: { v1: "InvalidMessage", v2: "InvalidMessage" },
  missingField: { v1: "InvalidMessage", v2: "InvalidMessage" },
  unknownTag: { v1: "InvalidField", v2: "UnknownTag" },
  unknownEnumeration: { v1: "InvalidField", v2: "UnknownEnumeration" },
  invalidField: { v1: "InvalidField", v2: "InvalidField" },
  missingData: { v1: "MissingData", v2: "MissingData" },
  unsupportedProtocolVersion: { v1: "InvalidMessage", v2: "UnsupportedProtocolVersion" },
  operationNotSupported: { v1: "OperationNotSupported", v2: "OperationNotSupported" },
  /** Also for a critical Message Extension that is not understood. */
  featureNotSupported: { v1: "FeatureNotSupported", v2: "FeatureNotSupported" },
  responseTooLarge: { v1: "ResponseTooLarge", v2: "ResponseTooLarge" },
  authenticationNotSuccessful: {
    v1: "AuthenticationNotSuccessful",
    v2: "AuthenticationNotSuccessful",
  },
  permissionDenied: { v1: "PermissionDenied", v2: "PermissionDenied" },
  /** Any cause without its own row, and an unknown result: a store or key cannot be reached. */
  generalFailure: { v1: "GeneralFailure", v2: "GeneralFailure" },
  internalError: { v1: "GeneralFailure", v2: "InternalServerError" },
  serverLimitExceeded: { v1: "GeneralFailure", v2: "ServerLimitExceeded" },

  /* The object. */
  objectNotFound: { v1: "ItemNotFound", v2: "ObjectNotFound" },
  objectDestroyed: { v1: "ItemNotFound", v2: "ObjectDestroyed" },
  objectArchived: { v1: "ObjectArchived", v2: "ObjectArchived" },
  templateNotFound: { v1: "ItemNotFound", v2: "ObjectNotFound" },
  /** An object of a type that the operation does not accept, or that differs from Object Type. */
  invalidObjectType: { v1: "IllegalOperation", v2: "InvalidObjectType" },
  wrongLifecycleState: { v1: "PermissionDenied", v2: "WrongKeyLifecycleState" },
  usageLimitExceeded: { v1: "PermissionDenied", v2: "UsageLimitExceeded" },
  incompatibleUsageMask: { v1: "PermissionDenied", v2: "IncompatibleCryptographicUsageMask" },
  unknownObjectGroup: { v1: "InvalidField", v2: "UnknownObjectGroup" },

  /* Attributes. */
  attributeReadOnly: { v1: "PermissionDenied", v2: "AttributeReadOnly" },
  /** A second value of an attribute that may have only one. */
  attributeSingleValued: { v1: "IllegalOperation", v2: "AttributeSingleValued" },
  /** Set or Adjust of an attribute that has several values. */
  attributeMultiValued: { v1: "InvalidField", v2: "MultiValuedAttribute" },
  attributeNotFound: { v1: "ItemNotFound", v2: "AttributeNotFound" },
  attributeInstanceNotFound: { v1: "ItemNotFound", v2: "AttributeInstanceNotFound" },
  /** An attribute that this object or operation cannot have. */
  invalidAttribute: { v1: "InvalidField", v2: "InvalidAttribute" },
  invalidAttributeValue: { v1: "InvalidField", v2: "InvalidAttributeValue" },
  nonUniqueName: { v1: "IllegalOperation", v2: "NonUniqueNameAttribute" },
  tooManyAttributes: { v1: "IndexOutOfBounds", v2: "ServerLimitExceeded" },
  applicationNamespaceNotSupported: {
    v1: "ApplicationNamespaceNotSupported",
    v2: "ApplicationNamespaceNotSupported",
  },
  /** Adjust of an attribute whose type does not allow this adjustment. */
  invalidDataType: { v1: "InvalidField", v2: "InvalidDataType" },
  numericRange: { v1: "InvalidField", v2: "NumericRange" },

  /* Keys. */
  cryptographicFailure: { v1: "CryptographicFailure", v2: "CryptographicFailure" },
  badCryptographicParameters: { v1: "InvalidField", v2: "BadCryptographicParameters" },
  unsupportedCryptographicParameters: {
    v1: "InvalidField",
    v2: "UnsupportedCryptographicParameters",
  },
  keyFormatTypeNotSupported: { v1: "KeyFormatTypeNotSupported", v2: "KeyFormatTypeNotSupported" },
  keyCompressionTypeNotSupported: {
    v1: "KeyCompressionTypeNotSupported",
    v2: "KeyCompressionTypeNotSupported",
  },
  keyWrapTypeNotSupported: { v1: "FeatureNotSupported", v2: "KeyWrapTypeNotSupported" },
  encodingOptionError: { v1: "EncodingOptionError", v2: "EncodingOptionError" },
  keyValueNotPresent: { v1: "KeyValueNotPresent", v2: "KeyValueNotPresent" },
  keySensitive: { v1: "Sensitive", v2: "Sensitive" },
  keyNotExtractable: { v1: "NotExtractable", v2: "NotExtractable" },
  /** PKCS#12 Password Links: none, several, or one to something other than an active password. */
  badPassword: { v1: "InvalidField", v2: "BadPassword" },
  /** None of the requested Protection Storage Masks is available. */
  protectionStorageUnavailable: { v1: "GeneralFailure", v2: "ProtectionStorageUnavailable" },
  wrappingObjectNotFound: { v1: "ItemNotFound", v2: "WrappingObjectNotFound" },
  wrappingObjectArchived: { v1: "ObjectArchived", v2: "WrappingObjectArchived" },
  /** Also for a root key that is gone. Never Item Not Found: vSphere would assume a lost key. */
  wrappingObjectDestroyed: { v1: "PermissionDenied", v2: "WrappingObjectDestroyed" },
} as const satisfies Record<string, Reasons>;

export type Fault = keyof typeof faults;

/** The replacement for a reason that a version does not have yet. */
const olderReasons: Readonly<Partial<Record<ResultReason, ResultReason>>> = {
  EncodingOptionError: "FeatureNotSupported",
  KeyValueNotPresent: "IllegalOperation",
  Sensitive: "PermissionDenied",
  NotExtractable: "PermissionDenied",
  UnknownObjectGroup: "InvalidField",
};

/** A failure to report. The client gets the fault's reason and `message`, only the log `cause`. */
export class KmipError extends Error {
  override readonly name = "KmipError";
  readonly fault: Fault;
  /** The version to answer in, if the message's header has a supported or similar version. */
  readonly version: Version | undefined;
  /** What the operation returns although it failed: its response payload. */
  readonly payload: object | undefined;
  constructor(
    fault: Fault,
    message: string,
    options: {
      readonly cause?: unknown;
      readonly version?: Version;
      readonly payload?: object;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.fault = fault;
    this.version = options.version;
    this.payload = options.payload;
  }
}

function column(reasons: Partial<Reasons>, version: Version): ResultReason | undefined {
  if (within(version, undefined, "1.4")) return reasons.v1;
  return version === "2.0" ? (reasons.v20 ?? reasons.v2) : reasons.v2;
}

function exists(reason: ResultReason, version: Version): boolean {
  const row: ValueRow = enumerations.ResultReason[reason];
  return typeof row === "number" || within(version, row.since, row.until);
}

/** The Result Reason of a fault in a version, by the operation's error table if one is given. */
export function resultReasonOf(
  fault: Fault,
  version: Version,
  errors: OperationErrors = {},
): ResultReason {
  const own = errors[fault];
  const reason =
    (own && column(own, version)) ?? column(faults[fault], version) ?? "GeneralFailure";
  return exists(reason, version) ? reason : (olderReasons[reason] ?? "GeneralFailure");
}
