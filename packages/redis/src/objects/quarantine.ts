import { hash } from "node:crypto";
import {
  type ManagedObject,
  type OwnStore,
  partitionOf,
  requireState,
  StoreUnavailable,
  sysPartition,
} from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import {
  allPartitions,
  bucketCount,
  bucketKey,
  instanceKeys,
  ownRecordKey,
  type PartitionKeys,
  partitionKeys,
} from "../connection/keys.ts";
import { headerAt, readRecordHeader } from "../connection/record-header.ts";
import { olderRecord } from "../memory/older.ts";
import {
  factBits,
  factsOf,
  proveBytes,
  proveRecord,
  type RecordPlace,
} from "../proof/record-proof.ts";
import { versionOfRepair } from "../proof/stored-records.ts";
import { Answers } from "../session/answers.ts";
import type { PrimarySession, StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";
import type { StorageKey } from "../storage-keys/storage-keys.ts";
import { repairLines, stateDigit } from "./commit-plan.ts";
import { stateOfDigit } from "./state-counts.ts";

type QuarantineOptions = Parameters<OwnStore["quarantine"]>[3];

/** Blocks of an index, and buckets of terms, that one script looks through. */
const blocksPerScript = 32;
const bucketsPerScript = 64;
/** Copies per record and kind, so that a peer cannot fill the store with more and more copies. */
const slots = 4;
const triesMax = 4;
/** A record that stays damaged is put aside, and reported, once in this time, however often it is read. */
const againMs = 60_000;
/** How many of them are remembered. Further ones are put aside by each read, which changes nothing. */
const rememberedMax = 4096;
/** Most records that are named in the log in this time. */
const namedMax = 100;
const localLength = headerAt.version - headerAt.promised;

/** An entry of an index: score and member. */
type Trace = readonly [score: string, member: Buffer];

interface Damage {
  readonly session: PrimarySession;
  readonly partition: number;
  readonly keys: PartitionKeys;
  readonly instance: string;
  readonly uniqueIdentifier: string;
  /** The value there now; empty where there is none that can be read. */
  readonly value: Buffer;
  /** The older state that it holds, where it proves itself. */
  readonly older: ManagedObject | undefined;
}

/**
 * What was put aside because it does not decode or contradicts the stored record. A hash:
 * identifier (16 bytes), `o` for an own record or `c` for another region's copy, and a slot → one
 * line of JSON that says why and when, then the bytes: a value, or what `copyAside` makes.
 */
export class Quarantine {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;
  readonly #answers: Answers;
  /** When the present bytes of damaged records were put aside last: monotonic. */
  readonly #asideMs = new Map<string, number>();
  #reported = { sinceMs: Number.NEGATIVE_INFINITY, count: 0 };

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#sessions = sessions;
    this.#answers = new Answers(context, sessions);
  }

  /** See `OwnStore.quarantine`. An intact record is not replaced: it was repaired meanwhile. */
  readonly quarantine = async (
    instance: string,
    uniqueIdentifier: string,
    reason: string,
    options: QuarantineOptions,
  ): Promise<void> => {
    const { copy } = options;
    if (copy !== undefined) await this.#putCopyAside(instance, uniqueIdentifier, reason, copy);
    for (let tries = 0; tries < triesMax; tries += 1) {
      const damage = await this.#damage(instance, uniqueIdentifier);
      if (damage === undefined) return;
      const chosen = this.#chosen(damage, options);
      if (await this.#settle(damage, reason, chosen, copy !== undefined)) return;
    }
    throw new StoreUnavailable(
      "timeout",
      `record ${uniqueIdentifier} has too many concurrent updates`,
    );
  };

  /** See `OwnStore.quarantined`. */
  readonly quarantined = async (): Promise<number> => {
    const keys = [
      partitionKeys(sysPartition).head,
      ...allPartitions.map(({ quarantine }) => quarantine),
    ];
    const { rest } = await this.#answers.ask("quarantined", keys, []);
    return Number(rest[0]);
  };

  /** False where the record has changed meanwhile. */
  async #settle(
    damage: Damage,
    reason: string,
    replacement: ManagedObject | undefined,
    isCopyAside: boolean,
  ): Promise<boolean> {
    const { uniqueIdentifier, value } = damage;
    const aside = this.#aside(uniqueIdentifier, "o", reason, value);
    if (replacement !== undefined) {
      if (!(await this.#repair(damage, replacement, aside))) return false;
    } else if (!isCopyAside) {
      if (this.#isAside(damage)) return true;
      await this.#putAside(damage, aside);
    }
    this.#report(uniqueIdentifier, reason);
    return true;
  }

  /** What is written in place of a damaged record, if anything is. */
  #chosen(damage: Damage, { replacement, join, only }: QuarantineOptions) {
    if (replacement === undefined) return only === true ? this.#again(damage) : undefined;
    const { older } = damage;
    return older === undefined || join === undefined ? replacement : join(older, replacement);
  }

  /** The older state of a record, if it lacks no fact that stays. */
  #again({ partition, uniqueIdentifier, older }: Damage): ManagedObject | undefined {
    const { older: records } = this.#context;
    if (older === undefined) return undefined;
    // A restore that it tells of was before what is remembered.
    const facts = factsOf(older) & ~factBits.restored;
    return records.lacksFacts(partition, uniqueIdentifier, facts) ? undefined : older;
  }

  async #putAside(damage: Damage, aside: readonly Buffer[]): Promise<void> {
    const { session, partition, keys } = damage;
    const { scripts } = this.#context;
    const scriptKeys = [keys.head, keys.quarantine];
    await session.groupCommit.submit(scripts.quarantine, partition, scriptKeys, aside);
    this.#noteAside(damage);
  }

  async #putCopyAside(
    instance: string,
    uniqueIdentifier: string,
    reason: string,
    copy: Uint8Array,
  ): Promise<void> {
    const session = await this.#writing();
    const partition = partitionOf(instance);
    const { head, quarantine } = partitionKeys(partition);
    const place = { partition, identifier: uniqueIdentifier, isCopy: true };
    const bytes = copyAside(session.storageKeys.newest, place, Buffer.from(copy));
    const aside = this.#aside(uniqueIdentifier, "c", reason, bytes);
    const { scripts } = this.#context;
    await session.groupCommit.submit(scripts.quarantine, partition, [head, quarantine], aside);
    this.#report(uniqueIdentifier, reason);
  }

  async #writing(): Promise<PrimarySession> {
    return this.#sessions.now("write") ?? (await this.#sessions.require("write"));
  }

  #isAside(damage: Damage): boolean {
    return this.#isFresh(this.#asideMs.get(asideName(damage)));
  }

  /** In the order of the times; what is fresh makes no room, since walks meet all damaged records in turn. */
  #noteAside(damage: Damage): void {
    const name = asideName(damage);
    this.#asideMs.delete(name);
    const [oldest] = this.#asideMs;
    if (this.#asideMs.size >= rememberedMax && oldest !== undefined) {
      if (this.#isFresh(oldest[1])) return;
      this.#asideMs.delete(oldest[0]);
    }
    this.#asideMs.set(name, this.#now());
  }

  #isFresh(lastMs: number | undefined): boolean {
    return lastMs !== undefined && this.#now() - lastMs < againMs;
  }

  #now(): number {
    return this.#context.lease.now().monotonicMs;
  }

  /** Damage of thousands of records must not fill the log, in each walk again. */
  #report(uniqueIdentifier: string, reason: string): void {
    if (!this.#isFresh(this.#reported.sinceMs)) this.#reported = { sinceMs: this.#now(), count: 0 };
    this.#reported.count += 1;
    if (this.#reported.count > namedMax + 1) return;
    if (this.#reported.count > namedMax) {
      this.#warn(
        `more than ${namedMax} records are put in quarantine: others are not named here now`,
      );
      return;
    }
    this.#warn(`record ${uniqueIdentifier} is put in quarantine: ${reason}`);
  }

  #warn(message: string): void {
    this.#context.observe({ type: "warning", message });
  }

  #aside(uniqueIdentifier: string, kind: "o" | "c", reason: string, bytes: Buffer): Buffer[] {
    const id = ownRecordKey("", uniqueIdentifier);
    const slot = (hash("sha256", bytes, "buffer")[0] ?? 0) % slots;
    const said = { reason, timeMs: Math.floor(this.#context.lease.now().wallMs) };
    return [
      Buffer.concat([id, Buffer.from(`${kind}${slot}`)]),
      Buffer.concat([Buffer.from(`${JSON.stringify(said)}\n`), bytes]),
    ];
  }

  /**
   * The value of a damaged record; undefined where it is intact. Rejects where it is intact and of
   * an unknown format.
   */
  async #damage(instance: string, uniqueIdentifier: string): Promise<Damage | undefined> {
    const session = await this.#writing();
    const partition = partitionOf(instance);
    const keys = partitionKeys(partition);
    const key = ownRecordKey(keys.record, uniqueIdentifier);
    const { head, values } = await session.reading((reader) => reader.read(partition, [key]));
    this.#answers.check(session, head);
    const value = values[0] ?? Buffer.alloc(0);
    let object: ManagedObject | undefined;
    try {
      const place = { partition, identifier: uniqueIdentifier };
      ({ object } = this.#context.records.open(session.storageKeys, place, value));
      const { older } = this.#context;
      const suspects = older.seems(partition, uniqueIdentifier, value) ? [uniqueIdentifier] : [];
      if ((await older.confirm(session, partition, suspects)).size === 0) return undefined;
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || error.failure !== "corrupt") throw error;
    }
    return { session, partition, keys, instance, uniqueIdentifier, value, older: object };
  }

  /**
   * False where the record has changed meanwhile; rejects where the replacement lacks what the
   * indexes know of it.
   */
  async #repair(
    damage: Damage,
    replacement: ManagedObject,
    aside: readonly Buffer[],
  ): Promise<boolean> {
    const { session, partition, keys, instance, uniqueIdentifier, value } = damage;
    if (replacement.instance !== instance || replacement.uniqueIdentifier !== uniqueIdentifier) {
      throw new RangeError("a record can only be replaced by another copy of it");
    }
    const { live, destroyed } = instanceKeys(keys.prefix, instance);
    const changes = await this.#traces(damage, keys.changes);
    const places = [
      ...(await this.#traces(damage, live)).map((trace) => ["3", ...trace] as const),
      ...(await this.#traces(damage, destroyed)).map((trace) => ["4", ...trace] as const),
    ];
    this.#context.formats.requireAgreed();
    requireLastState(replacement, changes, places);
    const { older, memory } = this.#context;
    if (older.lacksFacts(partition, uniqueIdentifier, factsOf(replacement))) throw olderRecord();
    const known = places.map(([, score]) => score);
    const created = known.find((score) => Number(score) === readRecordHeader(value)?.created);
    const place = { partition, identifier: uniqueIdentifier };
    const { storageKeys } = session;
    const changesIn = await this.#changesIn(damage);
    const remembered = older.version(partition, uniqueIdentifier);
    const version = versionOfRepair(storageKeys, place, value, changesIn, remembered);
    const { newest, stamp } = storageKeys;
    const { digest, proof, body } = proveRecord(newest, place, replacement, version);
    const scriptKeys: Argument[] = [keys.head, keys.counters, live, destroyed, keys.changes];
    scriptKeys.push(keys.digests, keys.reserved, keys.quarantine);
    scriptKeys.push(ownRecordKey(keys.record, uniqueIdentifier), keys.states);
    const terms = await this.#staleTerms(damage, known, scriptKeys);
    terms.push(...repairLines(replacement, keys.prefix, scriptKeys));
    const args: Argument[] = [
      hash("sha1", value),
      ...aside,
      ownRecordKey("", uniqueIdentifier),
      ...[digest, proof, body],
      stateDigit(replacement),
      created ?? known[0] ?? "",
      String(this.#context.settings.commonTermMin),
      stamp,
      ...[String(changes.length), ...changes.flat()],
      ...[String(places.length), ...places.flat()],
      ...[String(terms.length / 3), ...terms],
    ];
    const { repair } = this.#context.scripts;
    const { result } = await session.groupCommit.submit(repair, partition, scriptKeys, args);
    if (result !== "committed") return false;
    memory?.learnWritten(partition, replacement, version);
    return true;
  }

  /** How many changes the partition of a record has had. */
  async #changesIn({ session, keys }: Damage): Promise<number> {
    const { rest } = await this.#answers.ask("position", [keys.head, keys.counters], [], session);
    return Number(rest[0]);
  }

  /** Every entry of a record in an index. */
  async #traces({ session, keys, uniqueIdentifier }: Damage, index: string): Promise<Trace[]> {
    const id = ownRecordKey("", uniqueIdentifier);
    const found: Trace[] = [];
    for (let from: string | undefined = "0"; from !== undefined; ) {
      const args = [id, from, String(blocksPerScript)];
      const { rest } = await this.#answers.ask("traces", [keys.head, index], args, session);
      const [next, list] = rest as [Buffer, Buffer[]];
      for (let at = 0; at + 1 < list.length; at += 2) {
        const [score, member] = [list[at], list[at + 1]];
        if (score && member) found.push([String(score), member]);
      }
      from = next.length === 0 ? undefined : String(next);
    }
    return found;
  }

  /**
   * Entries of terms that the damaged record left, found by its creation counters; adds their
   * buckets to the keys.
   */
  async #staleTerms(
    { session, keys }: Damage,
    created: readonly string[],
    scriptKeys: Argument[],
  ): Promise<Argument[]> {
    const lines: Argument[] = [];
    for (const counter of created) {
      const bytes = Buffer.alloc(6);
      bytes.writeUIntBE(Number(counter), 0, 6);
      for (let first = 0; first < bucketCount; first += bucketsPerScript) {
        const buckets = Array.from({ length: bucketsPerScript }, (_, at) =>
          bucketKey(keys.prefix, first + at),
        );
        const asked = [keys.head, ...buckets];
        const { rest } = await this.#answers.ask("term-traces", asked, [bytes], session);
        const list = rest[0] as (number | Buffer)[];
        for (let at = 0; at + 1 < list.length; at += 2) {
          const bucket = buckets[Number(list[at]) - 1];
          if (bucket !== undefined) {
            lines.push("-", String(scriptKeys.push(bucket)), list[at + 1] as Buffer);
          }
        }
      }
    }
    return lines;
  }
}

/** Names the present bytes of a damaged record. */
function asideName({ session, partition, uniqueIdentifier, value }: Damage): string {
  return [session.storeId, partition, uniqueIdentifier, hash("sha256", value)].join(" ");
}

/**
 * What is put aside of another region's copy: its bytes or, of a system record, a value without local numbers, whose
 * version is 0, whose body is sealed, and whose MAC is that of a copy, so that it never counts as the record.
 */
function copyAside(key: StorageKey, place: RecordPlace, copy: Buffer): Buffer {
  if (place.partition !== sysPartition) return copy;
  const header = { digest: hash("sha256", copy), version: 0, facts: factBits.sealed };
  const { digest, proof, body } = proveBytes(key, place, copy, header);
  return Buffer.concat([digest, Buffer.alloc(localLength), proof, body]);
}

/**
 * Throws where a replacement would take back the last state that the entries of a damaged record
 * show.
 */
function requireLastState(
  replacement: ManagedObject,
  changes: readonly Trace[],
  places: readonly (readonly [index: string, ...Trace])[],
): void {
  for (const [, member] of changes) {
    const last = stateOfDigit.get(member.toString("latin1", 32));
    if (last !== undefined) requireState(replacement, last);
  }
  if (places.some(([index]) => index === "4")) requireState(replacement, "Destroyed");
}
