import { StoreUnavailable, sysPartition } from "@holdfast/engine";
import { runScript } from "../connection/connection.ts";
import { allPartitions, identifierIn, sysKeys } from "../connection/keys.ts";
import { readPartitionHead } from "../connection/record-header.ts";
import { readReply } from "../connection/replies.ts";
import type { ScriptName, Scripts } from "../connection/scripts.ts";
import { provenVersion } from "../proof/record-proof.ts";
import type { StoredValues } from "../proof/stored-values.ts";
import type { StorageKeys } from "../storage-keys/storage-keys.ts";
import { acceptedName, readAcceptances } from "./acceptance.ts";
import { type OlderRecords, recordsAtOnce, type StoreSession } from "./older.ts";
import type { StoreMemory } from "./store-memory.ts";

/** The part of a session that teaches the memory. */
interface FeedingSession extends StoreSession {
  /** Its barrier resolves when everything that was read before is covered. */
  readonly groupCommit: { barrier(): Promise<void> };
}

/** How often the memory learns what is new, and its file is written. */
export const feedEveryMs = 1_000;
/** Headers in one answer: every other client waits while the script runs. */
const headersPerScript = 256;
/** Scripts in which one round reads again what was learned before, and steps in which it compares a doubted store. */
const againPerRound = 64;
/** What `position.lua` reads. */
const numberKeys = allPartitions.flatMap(({ head, counters }) => [head, counters]);

/** Runs a script that reads. */
export type Asks = (
  name: ScriptName,
  keys: readonly string[],
  args: readonly string[],
) => Promise<unknown>;

/** The change numbers of all partitions, as a session's store has them now. */
async function changeNumbers(asks: Asks, storeId: string): Promise<readonly number[]> {
  const { rest } = answerOf(await asks("position", numberKeys, []), storeId);
  return rest.filter((_, at) => at % 2 === 1).map(Number);
}

/** The orders of operators in a store. */
async function acceptances(asks: Asks, values: StoredValues, keys: StorageKeys) {
  const asked = [allPartitions[sysPartition]?.head ?? "", sysKeys.local];
  const { rest } = answerOf(await asks("local-value", asked, [acceptedName]), keys.storeId);
  return readAcceptances(values, keys, String(rest[1] ?? ""));
}

/**
 * Compares a store's change numbers with the memory before it is used. The first round decides, after a full barrier and
 * with the orders of operators; a command has no rounds.
 */
export async function meetStore(
  memory: StoreMemory,
  asks: Asks,
  values: StoredValues,
  keys: StorageKeys,
): Promise<void> {
  if (memory.readOnly) memory.accept(await acceptances(asks, values, keys));
  memory.compareNumbers(await changeNumbers(asks, keys.storeId), false);
}

/**
 * Teaches the memory, for one process of Redis: each second, what a barrier of this node covers. It first reads the
 * positions, then has its own full barrier cover them, and only then reads the headers up to there. So nothing that is
 * learned can be taken back by a fail-over, whatever other nodes have noted as covered. With a new process of Redis it also
 * reads the headers of everything older again, a part in each round.
 */
export class MemoryFeed {
  readonly #memory: StoreMemory;
  readonly #older: OlderRecords;
  readonly #scripts: Scripts;
  /** Partition → up to where the memory had learned when the session began: up to there headers are read again. */
  readonly #before: readonly number[];
  readonly #values: StoredValues;
  /** Partition → up to where headers were read again since the session began. */
  readonly #again = allPartitions.map(() => 0);
  /** Partition → up to where this session has learned. */
  readonly #learned: number[];
  #running = false;
  /** What a doubted store is still to be compared with, and its change numbers when that began. */
  #pass:
    | {
        readonly left: ReturnType<StoreMemory["remembered"]>;
        readonly from: readonly number[];
      }
    | undefined;

  constructor(
    memory: StoreMemory,
    older: OlderRecords,
    { scripts, values }: { readonly scripts: Scripts; readonly values: StoredValues },
  ) {
    this.#memory = memory;
    this.#older = older;
    this.#scripts = scripts;
    this.#values = values;
    this.#before = allPartitions.map((_, partition) => memory.covered(partition));
    this.#learned = [...this.#before];
  }

  /** One round, unless the last one still runs. A round that fails is repeated by the next one. */
  async round(session: FeedingSession): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      const asks = this.#asks(session);
      const orders = await acceptances(asks, this.#values, session.storageKeys);
      const positions = await changeNumbers(asks, session.storeId);
      await session.groupCommit.barrier();
      if (this.#memory.accept(orders)) this.#beginAgain();
      this.#memory.compareNumbers(positions, true);
      for (const [partition, upTo] of positions.entries()) {
        const from = Math.min(this.#learned[partition] ?? 0, upTo);
        const reached = await this.#read(session, partition, from, upTo, Number.POSITIVE_INFINITY);
        this.#learned[partition] = reached;
        this.#memory.noteCovered(partition, reached);
      }
      await this.#readAgain(session);
      if (this.#memory.doubted) await this.#compare(session, positions);
      await this.#memory.flush();
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
    } finally {
      this.#running = false;
    }
  }

  /** Learns everything once more. */
  #beginAgain(): void {
    this.#learned.fill(0);
    this.#pass = undefined;
  }

  /**
   * Compares some more of what is remembered with a doubted store. Once all of it was there, without a record that is older
   * or missing, the doubt is over.
   */
  async #compare(session: FeedingSession, positions: readonly number[]): Promise<void> {
    this.#pass ??= { left: this.#memory.remembered(recordsAtOnce), from: positions };
    const pass = this.#pass;
    const { left, from } = pass;
    for (let times = 0; times < againPerRound; times += 1) {
      const next = left.next();
      if (next.done === true) {
        const { groupCommit } = session;
        await groupCommit.barrier();
        // It was put back once more meanwhile: what was compared before that counts for nothing.
        if (positions.every((number, at) => number >= (from[at] ?? 0))) {
          this.#memory.endDoubt(positions);
          this.#beginAgain();
        }
        this.#pass = undefined;
        return;
      }
      const { partition, ids } = next.value;
      // What could not be read was not compared.
      this.#pass = undefined;
      if ((await this.#older.confirm(session, partition, ids)).size > 0) return;
      this.#pass = pass;
    }
  }

  async #readAgain(session: FeedingSession): Promise<void> {
    let left = againPerRound;
    for (const [partition, before] of this.#before.entries()) {
      const from = this.#again[partition] ?? 0;
      const upTo = Math.min(before, this.#learned[partition] ?? 0);
      if (from >= upTo || left <= 0) continue;
      const scripts = left;
      this.#again[partition] = await this.#read(session, partition, from, upTo, scripts);
      left -= Math.ceil((this.#again[partition] - from) / headersPerScript);
    }
  }

  /** Reads headers above one number up to another; returns up to where. */
  async #read(
    session: FeedingSession,
    partition: number,
    from: number,
    upTo: number,
    scriptsMax: number,
  ): Promise<number> {
    const keys = allPartitions[partition];
    if (keys === undefined) return from;
    let at = from;
    for (let scripts = 0; at < upTo && scripts < scriptsMax; scripts += 1) {
      const args = [String(at), String(headersPerScript), String(upTo), keys.record];
      const asked = [keys.head, keys.counters, keys.changes];
      const { number, rest } = await this.#ask(session, "headers", asked, args);
      // `rest` begins with the head and the partition's change number.
      await this.#learn(session, partition, rest[2] as readonly Buffer[]);
      at = Math.min(number, upTo);
    }
    return at;
  }

  async #learn(
    session: FeedingSession,
    partition: number,
    entries: readonly Buffer[],
  ): Promise<void> {
    const suspects: string[] = [];
    for (let at = 0; at + 1 < entries.length; at += 2) {
      const [id, header] = [entries[at], entries[at + 1]];
      if (id?.length !== 16 || header === undefined) continue;
      const identifier = identifierIn(id);
      // What does not prove itself is set aside by the next read of it.
      if (provenVersion(session.storageKeys, { partition, identifier }, header) === undefined)
        continue;
      const relation = this.#memory.learn(partition, id, header);
      if (relation === "older") suspects.push(identifier);
    }
    await this.#older.confirm(session, partition, suspects);
  }

  async #ask(
    session: FeedingSession,
    name: ScriptName,
    keys: readonly string[],
    args: readonly string[],
  ): Promise<{ readonly number: number; readonly rest: readonly unknown[] }> {
    return answerOf(await this.#asks(session)(name, keys, args), session.storeId);
  }

  #asks(session: FeedingSession): Asks {
    return (name, keys, args) =>
      session.reading(({ connection }) => runScript(connection, this.#scripts[name], keys, args));
  }
}

/** An answer of this very store. */
function answerOf(answer: unknown, storeId: string) {
  const { result, number, rest } = readReply(answer);
  const head = result === "found" ? readPartitionHead(rest[0] as Buffer) : undefined;
  if (head?.storeId !== storeId) {
    throw new StoreUnavailable("notInitialised", "the store was replaced");
  }
  return { number, rest };
}
