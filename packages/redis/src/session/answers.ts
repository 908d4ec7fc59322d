import { StoreUnavailable } from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import { runScript } from "../connection/connection.ts";
import type { PartitionHead } from "../connection/record-header.ts";
import { readPartitionHead } from "../connection/record-header.ts";
import { readReply } from "../connection/replies.ts";
import type { ScriptName } from "../connection/scripts.ts";
import { notInitialised, otherStore } from "./group-commit.ts";
import type { PrimarySession, StoreContext } from "./primary-session.ts";
import type { PrimarySessions } from "./primary-sessions.ts";

/** What a read script answered: `number` and `rest` as its header describes, without the head. */
export interface Answer {
  readonly session: PrimarySession;
  readonly number: number;
  readonly head: PartitionHead;
  readonly rest: readonly unknown[];
}

/**
 * Answers of Redis that may be used: they came within the lease, from this store, and no fail-over
 * can take them back.
 */
export class Answers {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#sessions = sessions;
  }

  /** The session that may be read from. */
  async session(): Promise<PrimarySession> {
    return this.#sessions.now("read") ?? (await this.#sessions.require("read"));
  }

  /**
   * Runs a read script; calls that belong together pass one session. The caller must cover the
   * answer.
   */
  async ask(
    name: ScriptName,
    keys: readonly Argument[],
    args: readonly Argument[],
    session?: PrimarySession,
  ): Promise<Answer> {
    const used = session ?? (await this.session());
    const started = this.#now();
    const answer = await used.reading(({ connection }) =>
      runScript(connection, this.#context.scripts[name], keys, args),
    );
    const durationMs = this.#now() - started;
    this.#context.observe({ type: "storeCommand", command: name, durationMs });
    const { result, number, rest } = readReply(answer);
    if (result === "notInitialised") {
      const failure = notInitialised(used.address);
      used.end(failure);
      throw failure;
    }
    const head = readPartitionHead(rest[0] as Buffer | undefined);
    this.check(used, head);
    return { session: used, number, head, rest: rest.slice(1) };
  }

  /** Refuses an answer that came after the lease ended, or from an emptied or another store. */
  check(session: PrimarySession, head: PartitionHead | undefined): asserts head is PartitionHead {
    this.#sessions.assert(session, "read");
    if (head?.storeId === session.storeId) return;
    const failure = otherStore(session.address, session.storeId, head?.storeId);
    session.end(failure);
    throw failure;
  }

  /** Resolves when everything up to a partition's change number is covered. */
  async cover(
    session: PrimarySession,
    partition: number,
    head: PartitionHead,
    number: number,
  ): Promise<void> {
    const waited = number > Math.max(head.covered, session.covered.of(partition));
    this.#context.observe({ type: "coveredRead", waited });
    if (!waited) return;
    await session.groupCommit.cover(partition, number);
    this.#sessions.assert(session, "read");
  }

  /** Resolves when everything that the session has answered so far is covered. */
  async coverAll(session: PrimarySession): Promise<void> {
    await session.groupCommit.barrier();
    this.#sessions.assert(session, "read");
  }

  /** Refuses an answer that came after the lease ended. */
  assert(session: PrimarySession): void {
    this.#sessions.assert(session, "read");
  }

  /** Identifies the process that gives out the change numbers, and its data. */
  replicationId({ storeId, runId }: PrimarySession): string {
    return `${storeId}-${runId}`;
  }

  #now(): number {
    return this.#context.lease.now().monotonicMs;
  }
}

/** Throws where a script answered that there is a newer leader. */
export function refuseDeposed(result: string, epoch: number): void {
  if (result !== "deposed") return;
  throw new StoreUnavailable("deposed", `epoch ${epoch} is over: the store has seen a higher one`);
}
