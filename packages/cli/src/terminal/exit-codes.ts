import { AdminProblem, AdminUnreachable, type ProblemCode } from "@holdfast/admin";
import { ConnectionError, KmipClientError, MalformedResponseError } from "@holdfast/client";
import { KmipError, type ResultReason } from "@holdfast/kmip";
import { type Exit, exitCodes, ownExitOf } from "./exits.ts";

/** How each refusal of the management API ends a command. */
export const problemExits: Readonly<Record<ProblemCode, Exit>> = {
  invalid: "wrong",
  unauthenticated: "denied",
  forbidden: "denied",
  notFound: "missing",
  methodNotAllowed: "wrong",
  conflict: "conflicting",
  nameTaken: "conflicting",
  certificateTaken: "conflicting",
  wrongState: "conflicting",
  keysRemain: "conflicting",
  keyActive: "conflicting",
  approvalNeeded: "conflicting",
  approvalRefused: "denied",
  confirmationNeeded: "wrong",
  declared: "conflicting",
  idempotencyMismatch: "conflicting",
  madeAlready: "conflicting",
  preconditionFailed: "conflicting",
  tooLarge: "wrong",
  unsupportedMedia: "wrong",
  certificateInvalid: "wrong",
  rootKeyMissing: "wrong",
  rootDenied: "wrong",
  rootDisabled: "wrong",
  rootGone: "wrong",
  rootUnsupported: "wrong",
  preconditionRequired: "wrong",
  tooMany: "again",
  internal: "failed",
  rootUnavailable: "again",
  peerUnreachable: "again",
  storeUnavailable: "again",
};

/** The same for an HTTP status, for problem codes of a newer service. */
export const statusExits: Readonly<Record<number, Exit>> = {
  400: "wrong",
  401: "denied",
  403: "denied",
  404: "missing",
  405: "wrong",
  409: "conflicting",
  412: "conflicting",
  413: "wrong",
  415: "wrong",
  422: "wrong",
  428: "wrong",
  429: "again",
  503: "again",
};

/** How a KMIP Result Reason ends a command; any other reason means that the request is wrong. */
export const reasonExits: Readonly<Partial<Record<ResultReason, Exit>>> = {
  AuthenticationNotSuccessful: "denied",
  BadPassword: "denied",
  NotAuthorised: "denied",
  PermissionDenied: "denied",
  ItemNotFound: "missing",
  ObjectNotFound: "missing",
  AttributeNotFound: "missing",
  AttributeInstanceNotFound: "missing",
  WrappingObjectNotFound: "missing",
  UnknownObjectGroup: "missing",
  WrongKeyLifecycleState: "conflicting",
  ObjectArchived: "conflicting",
  ObjectDestroyed: "conflicting",
  WrappingObjectArchived: "conflicting",
  WrappingObjectDestroyed: "conflicting",
  ObjectAlreadyExists: "conflicting",
  NonUniqueNameAttribute: "conflicting",
  UsageLimitExceeded: "conflicting",
  Sensitive: "conflicting",
  NotExtractable: "conflicting",
  KeyValueNotPresent: "conflicting",
  DuplicateProcessRequest: "conflicting",
  // Holdfast answers this if it does not know the result or cannot promise it now.
  GeneralFailure: "again",
  ServerLimitExceeded: "again",
  ProtectionStorageUnavailable: "again",
  PrivateProtectionStorageUnavailable: "again",
  PublicProtectionStorageUnavailable: "again",
  CryptographicFailure: "failed",
  InternalServerError: "failed",
  OperationCanceledByRequester: "failed",
};

/** The exit code of a command that threw this. */
export function exitCodeOf(error: unknown): number {
  return exitCodes[exitOf(error)].code;
}

/** Failures that are not the fault of this program. */
export function isExpected(error: unknown): boolean {
  return [
    AdminProblem,
    AdminUnreachable,
    ConnectionError,
    KmipClientError,
    MalformedResponseError,
    KmipError,
  ].some((kind) => error instanceof kind);
}

function exitOf(error: unknown): Exit {
  const own = ownExitOf(error);
  if (own !== undefined) return own;
  if (error instanceof AdminUnreachable) return "again";
  if (error instanceof ConnectionError) return error.refused ? "denied" : "again";
  if (error instanceof KmipClientError) return kmipExit(error);
  if (!(error instanceof AdminProblem)) return "failed";
  return Object.hasOwn(problemExits, error.code)
    ? problemExits[error.code]
    : (statusExits[error.status] ?? "failed");
}

function kmipExit({ reason = "", resultMessage }: KmipClientError): Exit {
  // KMIP 1.x has no separate reason for an internal error of the server.
  if (reason === "GeneralFailure" && resultMessage === "internal error") return "failed";
  if (reason === "") return "failed";
  return Object.hasOwn(reasonExits, reason)
    ? (reasonExits[reason as ResultReason] ?? "wrong")
    : "wrong";
}
