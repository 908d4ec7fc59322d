import {
  isVersion1,
  KmipError,
  type OperationName,
  operationRow,
  type ResponseItem,
  resultReasonOf,
  type Version,
} from "@holdfast/kmip";
import {
  KeyRingUnavailable,
  KeysShredded,
  SealBroken,
  type StoreFailure,
  StoreUnavailable,
} from "../base/errors.ts";
import { failureBehind } from "../key-ring/key-ring-status.ts";
import type { RootOfTrustFailure } from "../ports/keys.ts";

/** What the client learns about a failure, and what is only logged. */
export interface Failure {
  readonly reason: NonNullable<ResponseItem["reason"]>;
  readonly message: string;
  readonly payload?: object;
  readonly cause?: unknown;
}

/** Messages that help a client; everything else is only in the log. */
const storeMessages: Partial<Record<StoreFailure, string>> = {
  full: "refused: the store is full and takes no changes now; reads still work",
  barrierShort:
    "cannot tell: the change is not safe yet on every copy of the store; look, then try again",
  corrupt: "cannot tell: the store holds this in a damaged form",
  unknownFormat:
    "cannot tell: this needs another release than this node runs; try another endpoint",
  formatNotAgreed:
    "cannot tell: this node runs a newer release than others, and changes nothing before all are upgraded; try another endpoint",
  clockDoubt:
    "cannot tell: a date of this object has come, and this node's clock disagrees with the store's or the other region's by more than 60 s; try another endpoint",
  doubted:
    "refused: the store is older than this node remembers; until an operator has looked, nothing is changed, and only objects that the node remembers are answered",
  peerUnreachable:
    "cannot tell: the other region, which may hold this, cannot be reached now; try again",
  noAgreement:
    "refused: this needs the agreement of every region, and one cannot be reached now; try again",
  reserved: "cannot tell: an operation that all regions agree on is under way here; try again",
};

/** The one place where an exception becomes a Result Reason. Only a `KmipError` sets its own message. */
export function failureOf(
  error: unknown,
  version: Version,
  operation: OperationName | undefined,
): Failure {
  // It is the client's fault, so the log must not raise an alarm, even if there is a cause.
  if (error instanceof KmipError) {
    const errors = operationRow(operation)?.errors;
    const { fault, message, payload } = error;
    const failure = { reason: resultReasonOf(fault, version, errors), message };
    return payload === undefined ? failure : { ...failure, payload };
  }
  if (error instanceof StoreUnavailable) {
    return {
      reason: resultReasonOf("generalFailure", version),
      message:
        storeMessages[error.failure] ?? "cannot tell: the store does not answer now; try again",
      cause: error,
    };
  }
  if (error instanceof SealBroken) {
    return {
      reason: resultReasonOf("generalFailure", version),
      message:
        "cannot tell: the stored material of this object does not open, and no other copy of it does; try another endpoint",
      cause: error,
    };
  }
  if (error instanceof KeyRingUnavailable) return keyRingFailure(error, version, operation);
  return {
    reason: resultReasonOf("internalError", version),
    message: "internal error",
    cause: error,
  };
}

/** Messages for refusals of the root of trust. */
const rootMessages: Partial<Record<RootOfTrustFailure, string>> = {
  gone: "the instance's keys are shredded in this region: its root key is deleted, and without it they cannot come back; try the other region, if there is one",
  disabled: "the instance's root key is disabled: its keys open again once it is enabled",
  denied: "this service has no permission to use the instance's root key",
};

/** A refusal of the root of trust is Permission Denied; if it is unreachable, the answer is "cannot tell". */
function keyRingFailure(
  error: KeyRingUnavailable,
  version: Version,
  operation: OperationName | undefined,
): Failure {
  if (!error.refused) {
    return {
      reason: resultReasonOf("generalFailure", version),
      message: "cannot tell: the instance's keys cannot be opened now; try again",
      cause: error,
    };
  }
  const failure = failureBehind(error);
  const fits = failure === "gone" && operation === "Get" && !isVersion1(version);
  const why = failure === undefined ? undefined : rootMessages[failure];
  return {
    reason: resultReasonOf(fits ? "wrappingObjectDestroyed" : "permissionDenied", version),
    message:
      error instanceof KeysShredded
        ? error.message
        : (why ?? "the instance's root key refuses to open its keys"),
    cause: error,
  };
}
