import { StoreUnavailable } from "@holdfast/engine";
import { answerOf, type Connection } from "../connection/connection.ts";
import { readRole } from "../connection/replies.ts";

/** What a barrier on a connection found. */
export interface Acknowledged {
  /** Whether the last write of the connection is on the primary's own disk. */
  readonly local: boolean;
  /** On how many replicas' disks it is. */
  readonly replicas: number;
  /** Every replica that can have been counted. */
  readonly connected: readonly string[];
}

/** The first WAITAOF's time; each later one has twice the time of the one before. */
const firstWaitMs = 8;
/** How long after its time a WAITAOF may stay unanswered before Redis is nudged. */
const nudgeMs = 2;

/**
 * Waits until the last write of a connection is acknowledged by `required` replicas, or until
 * `waitMs` is over. Rejects where the connection fails or leads to a replica.
 *
 * It asks several times: a replica that finds a write and the request to acknowledge it in one read
 * answers before it has flushed the write, and sends nothing more for a second unless it is asked
 * again. And Redis notices expired time-outs only when something wakes it; `nudgeAfter` does that
 * after a while, on another connection.
 */
export async function acknowledged(
  connection: Connection,
  required: number,
  waitMs: number,
  nudgeAfter: (ms: number) => () => void,
): Promise<Acknowledged> {
  let left = Math.ceil(waitMs);
  for (let ms = firstWaitMs; ; ms *= 2) {
    const time = Math.max(1, Math.min(ms, left));
    left -= time;
    const cancelNudge = nudgeAfter(time + nudgeMs);
    const answers = await connection.batch([
      ["waitaof", "1", String(required), String(time)],
      ["role"],
    ]);
    cancelNudge();
    const [counts, role] = answers.map((outcome) => answerOf(outcome, connection));
    const { primary, replicas: connected } = readRole(role);
    if (!primary) {
      throw new StoreUnavailable("noLease", `Redis ${connection.address} is a replica now`);
    }
    const [onDisk = 0, onReplicas = 0] = (counts as readonly unknown[]).map(Number);
    const done = onDisk >= 1 && onReplicas >= required;
    // Every replica that can have been counted is connected, so it is in this list, which is newer
    // than the counts.
    if (done || left <= 0) return { local: onDisk >= 1, replicas: onReplicas, connected };
  }
}
