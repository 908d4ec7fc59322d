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

/** What a failure of a root of trust means for the administrator; other errors stay as they are. */
export function rootProblem(error: unknown, before = ""): unknown {
  if (error instanceof RootOfTrustError) {
    return new ManagementError(codes[error.failure], before + reasonOf(error));
  }
  // Settings that this node does not have, said by their names.
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

/** How a root of trust does that failed so; `unreachable` for all other errors. */
export function crkStateOf(failure: RootOfTrustFailure | undefined): CrkState {
  return failure === undefined ? "unreachable" : states[failure];
}
