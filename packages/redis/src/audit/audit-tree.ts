import {
  type AuditEntry,
  type AuditTreeStore,
  sysPartition,
  type TreeWrite,
} from "@holdfast/engine";
import { partitionKeys, sysKeys } from "../connection/keys.ts";
import type { LeaderRecords } from "../records/leader-records.ts";
import { Answers, refuseDeposed } from "../session/answers.ts";
import type { StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";

/** An answer of this many bytes is full: every other client waits while Redis builds it. */
const bytesPerPage = 1 << 18;
const { head, counters } = partitionKeys(sysPartition);

/** The log over the audit trail in Redis: a stream of leaves, and a hash of texts. */
export class RedisAuditTree implements AuditTreeStore {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;
  readonly #answers: Answers;
  readonly #leader: Pick<LeaderRecords, "assertEpoch">;

  constructor(
    context: StoreContext,
    sessions: PrimarySessions,
    leader: Pick<LeaderRecords, "assertEpoch">,
  ) {
    this.#context = context;
    this.#sessions = sessions;
    this.#answers = new Answers(context, sessions);
    this.#leader = leader;
  }

  /** See `AuditTreeStore.texts`. */
  async texts(names: readonly string[]): Promise<readonly (string | undefined)[]> {
    const keys = [head, sysKeys.auditTree];
    const { session, rest } = await this.#answers.ask("audit-points", keys, names);
    await this.#answers.coverAll(session);
    return (rest[0] as Buffer[]).map((text) => (text.length === 0 ? undefined : String(text)));
  }

  /** See `AuditTreeStore.runs`. */
  async runs(from: number, limit: number): Promise<readonly AuditEntry[]> {
    const args = ["after", String(from - 1), String(limit), String(bytesPerPage)];
    const keys = [head, counters, sysKeys.auditLeaves];
    const { rest } = await this.#answers.ask("audit-entries", keys, args);
    return readEntries(rest[0]);
  }

  /** See `AuditTreeStore.write`. */
  async write(
    { size, anew = false, leaves, keepFrom, fields }: TreeWrite,
    epoch: number,
  ): Promise<boolean> {
    this.#leader.assertEpoch(epoch);
    const session = this.#sessions.now("write") ?? (await this.#sessions.require("write"));
    const text = (number: number | undefined) => (number === undefined ? "" : String(number));
    const reply = await session.groupCommit.submit(
      this.#context.scripts["set-audit-tree"],
      sysPartition,
      [head, sysKeys.epoch, sysKeys.auditTree, sysKeys.auditLeaves],
      [
        ...[String(epoch), text(size), anew ? "anew" : ""],
        ...[text(leaves?.first), Buffer.from(leaves?.bytes ?? []), text(keepFrom)],
        ...[...fields].flat(),
      ],
    );
    refuseDeposed(reply.result, epoch);
    return reply.result === "committed";
  }
}

/** Entries of a stream as `audit-entries.lua` answers them: each number, followed by its bytes. */
export function readEntries(answer: unknown): readonly AuditEntry[] {
  const flat = answer as (number | Buffer)[];
  const entries: AuditEntry[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    entries.push({ number: Number(flat[at]), bytes: flat[at + 1] as Buffer });
  }
  return entries;
}
