import { type Observer, StoreUnavailable } from "@holdfast/engine";
import { answerOf, type Connection } from "../connection/connection.ts";
import { ownRecordKey, partitionKeys } from "../connection/keys.ts";
import { recordHeaderLength } from "../connection/record-header.ts";
import { provenVersion } from "../proof/record-proof.ts";
import type { StorageKeys } from "../storage-keys/storage-keys.ts";
import { lastingFacts } from "./memory-table.ts";
import { compared, type StoreMemory } from "./store-memory.ts";

/** The part of a session that compares with the memory. */
export interface StoreSession {
  readonly storeId: string;
  readonly storageKeys: StorageKeys;
  /** Reads with the connection for reads. */
  reading<Answer>(
    work: (reader: { readonly connection: Connection }) => Promise<Answer>,
  ): Promise<Answer>;
}

/** How long a record that was reported is not reported again, and how many of them are known. */
const againMs = 60_000;
const knownMax = 4_096;

/** Compares what Redis answers with what the node remembers, if it has a memory. */
export class OlderRecords {
  readonly #memory: StoreMemory | undefined;
  readonly #observe: Observer;
  readonly #now: () => number;
  readonly #reported = new Map<string, number>();

  constructor(memory: StoreMemory | undefined, observe: Observer, now: () => number) {
    this.#memory = memory;
    this.#observe = observe;
    this.#now = now;
  }

  /**
   * Whether a value of a record, which proves itself, seems to be older than what is remembered; null where Redis has none.
   * Redis may have answered before the newer state was there and learned: `confirm` asks again.
   */
  seems(partition: number, identifier: string, value: Buffer | null): boolean {
    return this.#memory?.relation(partition, identifier, value) === "older";
  }

  /** Those of the records that are still older, or missing, when they are read once more; they are reported. */
  async confirm(
    session: StoreSession,
    partition: number,
    ids: readonly string[],
  ): Promise<ReadonlySet<string>> {
    const older = new Set<string>();
    if (ids.length === 0) return older;
    // What is learned from now on does not count: Redis answers later than it was there.
    const known = ids.map((id) => {
      const remembered = this.#memory?.get(partition, id);
      return remembered && { ...remembered, tag: Buffer.from(remembered.tag) };
    });
    const { record } = partitionKeys(partition);
    const last = String(recordHeaderLength - 1);
    const lines = ids.map((id) => ["getrange", ownRecordKey(record, id), "0", last] as const);
    const headers = await session.reading(async ({ connection }) => {
      const answers = await connection.batch(lines);
      // No answer says nothing about the record.
      return answers.map((answer) => answerOf(answer, connection) as Buffer);
    });
    for (const [index, identifier] of ids.entries()) {
      const header = headers[index] ?? Buffer.alloc(0);
      const place = { partition, identifier };
      const isProven = provenVersion(session.storageKeys, place, header) !== undefined;
      const value = isProven ? header : null;
      if (compared(value, known[index]) !== "older") continue;
      older.add(identifier);
      this.#report(partition, identifier);
    }
    return older;
  }

  /** Tells that the store has an older state of a record; not again within a minute. */
  #report(partition: number, uniqueIdentifier: string): void {
    const lastMs = this.#reported.get(uniqueIdentifier);
    if (lastMs !== undefined && this.#now() - lastMs < againMs) return;
    this.#reported.delete(uniqueIdentifier);
    const [oldest] = this.#reported.keys();
    if (this.#reported.size >= knownMax && oldest !== undefined) this.#reported.delete(oldest);
    this.#reported.set(uniqueIdentifier, this.#now());
    this.#observe({ type: "olderRecord", partition, uniqueIdentifier });
  }

  /** The version that is remembered of a record; 0 for none. */
  version(partition: number, identifier: string): number {
    return this.#memory?.get(partition, identifier)?.version ?? 0;
  }

  /** Whether an object lacks a fact that is remembered of it, other than its activation. */
  lacksFacts(partition: number, identifier: string, facts: number): boolean {
    const known = this.#memory?.get(partition, identifier)?.facts ?? 0;
    return (known & ~facts & lastingFacts) !== 0;
  }
}

/** What a read of such a record fails with. */
export function olderRecord(): StoreUnavailable {
  return new StoreUnavailable(
    "corrupt",
    "the store has an older state of a record than this node remembers, or has it no more",
  );
}
