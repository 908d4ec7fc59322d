import { AdminProblem, AdminUnreachable, type ProblemCode } from "@holdfast/admin";
import { ConnectionError, KmipClientError } from "@holdfast/client";
import type { ResultReason } from "@holdfast/kmip";
import { CommanderError } from "commander";
import { Failure } from "./failure.ts";

/** Exit codes and what they mean; docs/cli.md is made from these rows. */
export const exitCodes = {
  done: { code: 0, means: "done" },
  failed: { code: 1, means: "failed, or `doctor` found something to mend" },
  wrong: { code: 2, means: "the command line, a file that it names or the request is wrong" },
  again: {
    code: 3,
    means: "the service cannot be reached, or cannot promise anything now: try again",
  },
  denied: {
    code: 4,
    means: "the token, client certificate or password is not valid, or does not allow this",
  },
  missing: { code: 5, means: "there is no such thing" },
  conflicting: {
    code: 6,
    means: "it is in another state, its name is taken, or another change was faster",
  },
} as const;

/** One of the exit codes by its name. */
export type Exit = keyof typeof exitCodes;

/** What each refusal of the management API ends a command with. */
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

/** The same of an HTTP status, for codes of a newer service. */
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

/** What a KMIP Result Reason ends a command with; every other one says that the request is wrong. */
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
  // Holdfast says so where it cannot tell or promise anything now.
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

function exitOf(error: unknown): Exit {
  if (error instanceof CommanderError) return error.exitCode === 0 ? "done" : "wrong";
  if (error instanceof Failure) return "wrong";
  if (error instanceof AdminUnreachable) return "again";
  if (error instanceof ConnectionError) return error.refused ? "denied" : "again";
  if (error instanceof KmipClientError) return kmipExit(error);
  if (!(error instanceof AdminProblem)) return "failed";
  return Object.hasOwn(problemExits, error.code)
    ? problemExits[error.code]
    : (statusExits[error.status] ?? "failed");
}

function kmipExit({ reason = "", resultMessage }: KmipClientError): Exit {
  // KMIP 1.x has no reason of its own for a fault of the server.
  if (reason === "GeneralFailure" && resultMessage === "internal error") return "failed";
  if (reason === "") return "failed";
  return Object.hasOwn(reasonExits, reason)
    ? (reasonExits[reason as ResultReason] ?? "wrong")
    : "wrong";
}
