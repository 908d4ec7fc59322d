import { KeyRingUnavailable, RootOfTrustError, SealBroken } from "../base/errors.ts";
import type { RootOfTrustFailure } from "../ports/keys.ts";

/**
 * What this node can do with an instance's keys: `open` after the root of trust last opened one; `grace` while open
 * ones are used although it cannot be reached; `closed` when none can be used; `shredded` by an administrator.
 */
export interface KeyRingStatus {
  readonly state: "open" | "grace" | "closed" | "shredded";
  /** The root of trust's failure, if that is the cause. */
  readonly failure?: RootOfTrustFailure;
  readonly reason: string;
  /** Wall clock. */
  readonly sinceMs: number;
  /** Until when open keys are used in `grace`: wall clock. */
  readonly graceUntilMs?: number;
}

/** The error for a caller of the key ring: refused, unreachable, or altered. */
export function keyRingFault(cause: unknown): KeyRingUnavailable | SealBroken {
  if (cause instanceof KeyRingUnavailable || cause instanceof SealBroken) return cause;
  if (cause instanceof RootOfTrustError && cause.failure !== "unavailable") {
    return new KeyRingUnavailable(true, `the root of trust refuses (${cause.failure})`, { cause });
  }
  const what =
    cause instanceof RootOfTrustError ? "the root of trust" : "the key-encryption keys' store";
  return new KeyRingUnavailable(false, `${what} cannot be reached`, { cause });
}

/** The root of trust's failure behind an error of the key ring. */
export function failureBehind(error: unknown): RootOfTrustFailure | undefined {
  if (error instanceof RootOfTrustError) return error.failure;
  return error instanceof KeyRingUnavailable ? failureBehind(error.cause) : undefined;
}

/** The message of an error of the key ring, with the root of trust's own message if it has one. */
export function reasonBehind(error: KeyRingUnavailable | SealBroken): string {
  const { cause } = error;
  return cause instanceof RootOfTrustError ? `${error.message}: ${cause.message}` : error.message;
}
