import { ManagementError, type ProblemCode } from "@holdfast/admin";
import {
  type CrkState,
  KeyRingUnavailable,
  RootOfTrustError,
  type RootOfTrustFailure,
  SealBroken,
} from "@holdfast/engine";
import { OperatorError, reasonOf } from "../base/operator-error.ts";

const codes: Readonly<Record<RootOfTrustFailure, ProblemCode>> = {
  unavailable: "rootUnavailable",
  denied: "rootDenied",
  disabled: "rootDisabled",
  gone: "rootGone",
};

const states: Readonly<Record<RootOfTrustFailure, CrkState>> = {
  unavailable: "unreachable",
  denied: "denied",
  disabled: "disabled",
  gone: "gone",
};

/** Converts a failure of a root of trust to an error for the administrator; returns other errors unchanged. */
export function rootProblem(error: unknown, before = ""): unknown {
  if (error instanceof RootOfTrustError) {
    return new ManagementError(codes[error.failure], before + reasonOf(error));
  }
  // Names settings that this node does not have.
  if (error instanceof OperatorError) {
    return new ManagementError("rootUnsupported", before + reasonOf(error));
  }
  if (error instanceof KeyRingUnavailable && error.cause !== undefined) {
    return rootProblem(error.cause, before);
  }
  if (error instanceof KeyRingUnavailable) {
    return new ManagementError("rootUnavailable", before + reasonOf(error));
  }
  if (error instanceof SealBroken) {
    return new ManagementError("rootGone", `${before}the root key does not open what it wrapped`);
  }
  return error;
}

/** The state of a root of trust after a failure; `unreachable` for all other errors. */
export function crkStateOf(failure: RootOfTrustFailure | undefined): CrkState {
  return failure === undefined ? "unreachable" : states[failure];
}
