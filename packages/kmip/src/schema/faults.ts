import { enumerations, type ValueRow } from "./enums.ts";
import { type Version, within } from "./version.ts";

/** KMIP 2.1, 11.46 Result Reason. */
export type ResultReason = keyof (typeof enumerations)["ResultReason"];

/** Result Reason in 1.x and in 2.x, and in 2.0 where it differs from 2.1's. */
interface Reasons {
  readonly v1: ResultReason;
  readonly v2: ResultReason;
  readonly v20?: ResultReason;
}

/** Reasons of an operation's own error table, where they differ from the fault's row. */
export type OperationErrors = Readonly<Partial<Record<Fault, Partial<Reasons>>>>;

/**
 * One row a cause: why a request failed, with its Result Reason by the error tables (KMIP 1.0 to 1.4, 11; KMIP 2.0 and
 * 2.1, 6.1). A reason that an older version lacks is replaced by `olderReasons`.
 */
export const faults = {
  /* The message. */
  codecError: { v1: "InvalidMessage", v2: "CodecError" },
  invalidMessage: { v1: "InvalidMessage", v2: "InvalidMessage" },
  missingField: { v1: "InvalidMessage", v2: "InvalidMessage" },
  unknownTag: { v1: "InvalidMessage", v2: "UnknownTag" },
  unknownEnumeration: { v1: "InvalidField", v2: "UnknownEnumeration" },
  invalidField: { v1: "InvalidField", v2: "InvalidField" },
  missingData: { v1: "MissingData", v2: "MissingData" },
  unsupportedProtocolVersion: { v1: "InvalidMessage", v2: "UnsupportedProtocolVersion" },
  operationNotSupported: { v1: "OperationNotSupported", v2: "OperationNotSupported" },
  /** Also a critical Message Extension that is not understood. */
  featureNotSupported: { v1: "FeatureNotSupported", v2: "FeatureNotSupported" },
  responseTooLarge: { v1: "ResponseTooLarge", v2: "ResponseTooLarge" },
  authenticationNotSuccessful: {
    v1: "AuthenticationNotSuccessful",
    v2: "AuthenticationNotSuccessful",
  },
  permissionDenied: { v1: "PermissionDenied", v2: "PermissionDenied" },
  /** Everything without a row of its own, and "cannot tell": a store or a key that cannot be reached. */
  generalFailure: { v1: "GeneralFailure", v2: "GeneralFailure" },
  internalError: { v1: "GeneralFailure", v2: "InternalServerError" },
  serverLimitExceeded: { v1: "GeneralFailure", v2: "ServerLimitExceeded" },

  /* The object. */
  objectNotFound: { v1: "ItemNotFound", v2: "ObjectNotFound" },
  objectDestroyed: { v1: "ItemNotFound", v2: "ObjectDestroyed" },
  objectArchived: { v1: "ObjectArchived", v2: "ObjectArchived" },
  templateNotFound: { v1: "ItemNotFound", v2: "ObjectNotFound" },
  /** An object of a type that the operation cannot take, or that is not what Object Type says. */
  invalidObjectType: { v1: "IllegalOperation", v2: "InvalidObjectType" },
  wrongLifecycleState: { v1: "PermissionDenied", v2: "WrongKeyLifecycleState" },
  usageLimitExceeded: { v1: "PermissionDenied", v2: "UsageLimitExceeded" },
  incompatibleUsageMask: { v1: "PermissionDenied", v2: "IncompatibleCryptographicUsageMask" },
  unknownObjectGroup: { v1: "InvalidField", v2: "UnknownObjectGroup" },

  /* Attributes. */
  attributeReadOnly: { v1: "PermissionDenied", v2: "AttributeReadOnly" },
  /** A second value of an attribute that has one. */
  attributeSingleValued: { v1: "IllegalOperation", v2: "AttributeSingleValued" },
  /** Set or Adjust of an attribute that has several values. */
  attributeMultiValued: { v1: "InvalidField", v2: "MultiValuedAttribute" },
  attributeNotFound: { v1: "ItemNotFound", v2: "AttributeNotFound" },
  attributeInstanceNotFound: { v1: "ItemNotFound", v2: "AttributeInstanceNotFound" },
  /** An attribute that this object or operation cannot have. */
  invalidAttribute: { v1: "InvalidField", v2: "InvalidAttribute" },
  /** An attribute of the standard that Holdfast does not keep. */
  unsupportedAttribute: { v1: "InvalidField", v2: "UnsupportedAttribute" },
  invalidAttributeValue: { v1: "InvalidField", v2: "InvalidAttributeValue" },
  nonUniqueName: { v1: "IllegalOperation", v2: "NonUniqueNameAttribute" },
  tooManyAttributes: { v1: "IndexOutOfBounds", v2: "ServerLimitExceeded" },
  applicationNamespaceNotSupported: {
    v1: "ApplicationNamespaceNotSupported",
    v2: "ApplicationNamespaceNotSupported",
  },
  /** Adjust of a type that cannot be adjusted so. */
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
  /** A PKCS#12 Password Link that is missing, several, or not an active password. */
  badPassword: { v1: "InvalidField", v2: "BadPassword" },
  /** None of the Protection Storage Masks asked for can be had. */
  protectionStorageUnavailable: { v1: "GeneralFailure", v2: "ProtectionStorageUnavailable" },
  wrappingObjectNotFound: { v1: "ItemNotFound", v2: "WrappingObjectNotFound" },
  wrappingObjectArchived: { v1: "ObjectArchived", v2: "WrappingObjectArchived" },
  /** Also a root key that is gone: never Item Not Found, which vSphere takes for a lost key. */
  wrappingObjectDestroyed: { v1: "PermissionDenied", v2: "WrappingObjectDestroyed" },
} as const satisfies Record<string, Reasons>;

export type Fault = keyof typeof faults;

/** What a version answers that does not have the reason yet. */
const olderReasons: Readonly<Partial<Record<ResultReason, ResultReason>>> = {
  EncodingOptionError: "FeatureNotSupported",
  KeyValueNotPresent: "IllegalOperation",
  Sensitive: "PermissionDenied",
  NotExtractable: "PermissionDenied",
  UnknownObjectGroup: "InvalidField",
};

/** A failure that is reported to the client: the fault's reason and `message` go on the wire, `cause` only to the log. */
export class KmipError extends Error {
  override readonly name = "KmipError";
  readonly fault: Fault;
  /** The version to answer in, where the message's header has it, or nearly has it. */
  readonly version: Version | undefined;
  constructor(
    fault: Fault,
    message: string,
    options: { readonly cause?: unknown; readonly version?: Version } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.fault = fault;
    this.version = options.version;
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

/** The Result Reason of a fault in a version, by the operation's error table where one is given. */
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
