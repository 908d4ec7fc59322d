import { kindOf, type ManagedObject, type Observer, StoreUnavailable } from "@holdfast/engine";
import { answerOf, type Connection } from "../connection/connection.ts";
import { ownRecordKey, partitionKeys } from "../connection/keys.ts";
import { headerAt, recordHeaderLength } from "../connection/record-header.ts";
import { factBits, factsOf, provenVersion } from "../proof/record-proof.ts";
import type { StorageKeys } from "../storage-keys/storage-keys.ts";
import { compared, lackedFacts } from "./memory-table.ts";
import type { StoreMemory } from "./store-memory.ts";

/** The part of a session that compares with the memory. */
export interface StoreSession {
  readonly storeId: string;
  readonly storageKeys: StorageKeys;
  /** Reads with the connection for reads. */
  reading<Answer>(
    work: (reader: { readonly connection: Connection }) => Promise<Answer>,
  ): Promise<Answer>;
}

/** What the store lacks of a record. */
export interface Lack {
  /** Redis has nothing under its key. */
  readonly missing: boolean;
  /** The remembered facts that it has not: bits of `factBits`. */
  readonly facts: number;
}

/** What a node's memory has, and the store has not. */
export interface MemorySurvey {
  /** How many records are remembered. */
  readonly records: number;
  readonly older: number;
  readonly missing: number;
  /** How many records lack which fact: with it gone, a destroyed key could be served again. */
  readonly lost: Readonly<Record<"destroyed" | "compromised" | "deactivated", number>>;
  /** Some of the records that are older or missing. */
  readonly ids: readonly string[];
}

const namedMax = 10;
/** Records that are read in one step. */
export const recordsAtOnce = 256;

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

  /**
   * Whether an object is a KEK in an older state that opens keys all the same, while the store is doubted: its counts change with
   * the keys that are made, and without it none of them could be read. It must lack no fact that stays. Nothing is sealed then.
   */
  stillOpens(partition: number, object: ManagedObject | undefined): boolean {
    if (object === undefined || kindOf(object) !== "Kek") return false;
    const isWhole = !this.lacksFacts(partition, object.uniqueIdentifier, factsOf(object));
    return this.#memory?.doubted === true && isWhole;
  }

  /** How the records are older, or missing, that still are when they are read once more; these are reported. */
  async confirm(
    session: StoreSession,
    partition: number,
    ids: readonly string[],
  ): Promise<ReadonlyMap<string, Lack>> {
    const older = new Map<string, Lack>();
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
      const facts = value === null ? 0 : value.readUInt8(headerAt.facts);
      const lacking = lackedFacts(known[index]?.facts ?? 0, facts);
      older.set(identifier, { missing: header.length === 0, facts: lacking });
      this.#report(partition, identifier);
    }
    return older;
  }

  /** Compares everything that is remembered, or one record, with the store. */
  async survey(session: StoreSession, record?: string): Promise<MemorySurvey> {
    const memory = this.#memory;
    const all: [string, Lack][] = [];
    for (const { partition, ids } of memory?.remembered(recordsAtOnce) ?? []) {
      const asked = record === undefined ? ids : ids.filter((id) => id === record);
      all.push(...(await this.confirm(session, partition, asked)));
    }
    const missing = all.filter(([, lack]) => lack.missing).length;
    const without = (bit: number) => all.filter(([, { facts }]) => (facts & bit) !== 0).length;
    return {
      ...{ records: memory?.size ?? 0, older: all.length - missing, missing },
      lost: {
        destroyed: without(factBits.destroyed | factBits.destructionPending),
        compromised: without(factBits.compromised),
        deactivated: without(factBits.deactivated),
      },
      ids: all.slice(0, namedMax).map(([id]) => id),
    };
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
    return lackedFacts(known, facts) !== 0;
  }
}

/** What a read of such a record fails with. */
export function olderRecord(): StoreUnavailable {
  return new StoreUnavailable(
    "corrupt",
    "the store has an older state of a record than this node remembers, or has it no more",
  );
}
