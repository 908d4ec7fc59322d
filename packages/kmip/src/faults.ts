import type { enumerations } from "./enums.ts";
import { isVersion1, type Version } from "./version.ts";

/** KMIP 2.1, 11.46 Result Reason. */
export type ResultReason = keyof (typeof enumerations)["ResultReason"];

interface FaultRow {
  /** Result Reason in 1.x, and in 2.x (KMIP 1.4, 11; KMIP 2.1, 11 error tables). */
  readonly v1: ResultReason;
  readonly v2: ResultReason;
}

/** One row a cause: why a request failed, with its Result Reason in 1.x and in 2.x. */
export const faults = {
  objectNotFound: { v1: "ItemNotFound", v2: "ObjectNotFound" },
  objectDestroyed: { v1: "ItemNotFound", v2: "ObjectDestroyed" },
  wrongLifecycleState: { v1: "PermissionDenied", v2: "WrongKeyLifecycleState" },
  unknownTag: { v1: "InvalidMessage", v2: "UnknownTag" },
  invalidMessage: { v1: "InvalidMessage", v2: "InvalidMessage" },
  missingField: { v1: "InvalidMessage", v2: "InvalidMessage" },
  unknownEnumeration: { v1: "InvalidField", v2: "UnknownEnumeration" },
  unsupportedProtocolVersion: { v1: "InvalidMessage", v2: "UnsupportedProtocolVersion" },
  featureNotSupported: { v1: "FeatureNotSupported", v2: "FeatureNotSupported" },
  invalidField: { v1: "InvalidField", v2: "InvalidField" },
  operationNotSupported: { v1: "OperationNotSupported", v2: "OperationNotSupported" },
  generalFailure: { v1: "GeneralFailure", v2: "GeneralFailure" },
} as const satisfies Record<string, FaultRow>;

export type Fault = keyof typeof faults;

/** A failure the client is told about: the fault's reason and `message` go on the wire, `cause` only to the log. */
export class KmipError extends Error {
  override readonly name = "KmipError";
  readonly fault: Fault;
  /** The version to answer in, where a message's header told it or came near to it. */
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

/** The Result Reason of a fault in a version. */
export function reasonOf(fault: Fault, version: Version): ResultReason {
  const row: FaultRow = faults[fault];
  return isVersion1(version) ? row.v1 : row.v2;
}
