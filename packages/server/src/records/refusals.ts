import { ManagementError, type Principal, type ProblemCode } from "@holdfast/admin";
import { type CommitOutcome, type StoreFailure, StoreUnavailable } from "@holdfast/engine";

const codes: Partial<Record<StoreFailure, ProblemCode>> = {
  peerUnreachable: "peerUnreachable",
  noAgreement: "peerUnreachable",
};

/** Refuses a caller whose token is bound to instances; `says` is what it may not do, and why. */
export function refuseBound({ principal }: { readonly principal: Principal }, says: string): void {
  if (principal.instances !== undefined) throw new ManagementError("forbidden", says);
}

/** What the store's refusal means for the administrator: its words are written for people and hold no secret. */
export function refusalOf(
  why: CommitOutcome | StoreUnavailable,
  taken?: (claim: string) => ManagementError,
): ManagementError {
  if (why instanceof StoreUnavailable) {
    return new ManagementError(codes[why.failure] ?? "storeUnavailable", why.message);
  }
  switch (why.kind) {
    case "nameTaken":
      return taken?.(why.name) ?? new ManagementError("nameTaken", "the name is taken");
    case "conflict":
      return new ManagementError("conflict", "another change was faster: read again, then retry");
    case "instanceClosed":
      return new ManagementError("wrongState", "the instance is not Installed");
    case "reserved":
    case "reservationLost":
    case "committed":
      return new ManagementError(
        "storeUnavailable",
        "an agreed operation holds it: try again in a few seconds",
      );
  }
}
