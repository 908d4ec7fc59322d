import { AdminProblem, AdminUnreachable } from "@holdfast/admin";
import { ConnectionError, KmipClientError } from "@holdfast/client";
import { OperatorError } from "@holdfast/server/operator-error";
import { TtlvError } from "@holdfast/ttlv";
import { reasonOf } from "../terminal/failure.ts";

/** Time and random identifiers; tests have their own. */
export interface Surroundings {
  /** Milliseconds that never go back. */
  readonly now: () => number;
  readonly date: () => Date;
  readonly sleep: (ms: number) => Promise<unknown>;
  /** A new random UUID. */
  readonly newId: () => string;
}

/** How long a call is repeated, and whom the error names if no call succeeds. */
export interface Patience {
  readonly ms: number;
  readonly around: Surroundings;
  /** Completes "… does not answer". */
  readonly who: string;
}

const firstWaitMs = 250;
const longestWaitMs = 5_000;
/** Some servers give the reasons that ask to try again for faults that never pass. */
const refusalsMax = 3;

type Kind = "lost" | "again" | "no";

/** Repeats `work` while its failure may pass; the last one is an `OperatorError` that says how to continue. */
export async function patiently<Answer>(
  { ms, around, who }: Patience,
  work: () => Promise<Answer>,
  kindOf: (error: unknown) => Kind = kindOfFailure,
): Promise<Answer> {
  const until = around.now() + ms;
  let left = refusalsMax;
  for (let waitMs = firstWaitMs; ; waitMs = Math.min(2 * waitMs, longestWaitMs)) {
    try {
      return await work();
    } catch (error) {
      const kind = kindOf(error);
      if (kind === "again") left -= 1;
      if (kind === "no" || left < 0) throw error;
      const nextMs = Math.max(waitMs, askedMs(error));
      if (around.now() + nextMs > until) throw ended(who, error, kind);
      await around.sleep(nextMs);
    }
  }
}

/** How long the service asks to wait. */
function askedMs(error: unknown): number {
  return error instanceof AdminProblem ? 1000 * (error.retryAfterSeconds ?? 0) : 0;
}

function ended(who: string, error: unknown, kind: Kind): unknown {
  // It was an answer.
  if (kind === "again") return error;
  const why = reasonOf(error);
  // It may be a certificate that ended while the command ran.
  const how =
    error instanceof ConnectionError && error.refused
      ? "see that the certificates of both sides are valid, then give the same command again to continue"
      : "give the same command again to continue";
  return new OperatorError(`${who} does not answer: ${why}; ${how}`, "again");
}

/** Whether a server sent something that cannot be read, such as a larger message than this client takes. */
export function isUnreadable(error: unknown): boolean {
  return error instanceof ConnectionError && error.cause instanceof TtlvError;
}

/** `lost`: there was no answer. `again`: a KMIP server says that it cannot tell now, or what it sent cannot be read. */
export function kindOfFailure(error: unknown): Kind {
  if (isUnreadable(error)) return "again";
  if (error instanceof ConnectionError) return error.refused ? "no" : "lost";
  if (error instanceof AdminUnreachable) return "lost";
  if (error instanceof AdminProblem) {
    return error.status === 429 || error.status === 503 ? "lost" : "no";
  }
  if (!(error instanceof KmipClientError)) return "no";
  return error.reason === "GeneralFailure" || error.reason === "ServerLimitExceeded"
    ? "again"
    : "no";
}
