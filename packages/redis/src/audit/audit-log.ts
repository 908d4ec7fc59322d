import {
  type AuditEntry,
  type AuditLog,
  type AuditRange,
  type AuditStanding,
  auditEntriesMax,
  type ChainPoint,
  chainStart,
  checkpointEvery,
  partitionOfTrail,
  type SinkPoint,
  StoreUnavailable,
  sysPartition,
} from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import { allTrails, partitionKeys, sysKeys, type TrailKeys } from "../connection/keys.ts";
import { readPartitionHead } from "../connection/record-header.ts";
import type { Reply } from "../connection/replies.ts";
import type { ScriptName } from "../connection/scripts.ts";
import { split } from "../proof/stored-values.ts";
import type { LeaderRecords } from "../records/leader-records.ts";
import { Answers, refuseDeposed } from "../session/answers.ts";
import type { PrimarySession, StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";
import type { StorageKeys } from "../storage-keys/storage-keys.ts";
import type { ValuePlace } from "../storage-keys/value-proof.ts";
import { RedisAuditTree, readEntries } from "./audit-tree.ts";

/** An answer of this many bytes is full: every other client waits while Redis builds it. */
const bytesPerPage = 1 << 18;
const hashLength = 32;
const pointLength = 18 + hashLength;
const sinkPointLength = 6 + hashLength;
const sys = partitionKeys(sysPartition);
const none = Buffer.alloc(0);

/**
 * The audit trail in Redis: entries, the points of the leader's chain, and how far each sink has
 * received them.
 */
export class RedisAuditLog implements AuditLog {
  readonly tree: RedisAuditTree;
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;
  readonly #answers: Answers;
  readonly #leader: Pick<LeaderRecords, "assertEpoch">;
  /** Store and partition → where its chain begins: every question for all partitions needs all of them. */
  readonly #starts = new Map<string, ChainPoint>();

  constructor(
    context: StoreContext,
    sessions: PrimarySessions,
    leader: Pick<LeaderRecords, "assertEpoch">,
  ) {
    this.#context = context;
    this.#sessions = sessions;
    this.#answers = new Answers(context, sessions);
    this.#leader = leader;
    this.tree = new RedisAuditTree(context, sessions, leader);
  }

  get storeId(): string | undefined {
    return this.#sessions.storeId;
  }

  /** See `AuditLog.standings`. */
  async standings(): Promise<readonly AuditStanding[]> {
    const keys = allTrails.flatMap(({ head, counters, chain }) => [head, counters, chain]);
    const { session, head, rest } = await this.#answers.ask("audit-standings", keys, []);
    const list = [undefined, ...rest];
    return allTrails.map((_, partition) => {
      const [of, last, dropped, top, base] = list.slice(5 * partition, 5 * partition + 5);
      this.#answers.check(session, partition === 0 ? head : readPartitionHead(of as Buffer));
      const start = this.#startOf(session.storeId, partition);
      return {
        last: Number(last),
        dropped: Number(dropped),
        base: this.#point(session, partition, "base", base) ?? start,
        head: this.#point(session, partition, "head", top) ?? start,
      };
    });
  }

  #startOf(storeId: string, partition: number): ChainPoint {
    const key = `${storeId} ${partition}`;
    const start = this.#starts.get(key) ?? chainStart(storeId, partition);
    this.#starts.set(key, start);
    return start;
  }

  /** See `AuditLog.entries`. */
  async entries(
    partition: number,
    { from, limit, covered }: AuditRange,
  ): Promise<readonly AuditEntry[]> {
    const { head, counters, audit } = keysOf(partition);
    const [direction, number] = "after" in from ? ["after", from.after] : ["before", from.before];
    const most = Math.max(1, Math.min(limit, auditEntriesMax));
    const args = [direction, String(number), String(most), String(bytesPerPage)];
    const { session, rest } = await this.#answers.ask(
      "audit-entries",
      [head, counters, audit],
      args.map(String),
    );
    if (covered) await this.#answers.coverAll(session);
    return readEntries(rest[0]);
  }

  /** See `AuditLog.seek`. */
  async seek(partition: number, timeMs: number): Promise<number> {
    const { head, counters, audit } = keysOf(partition);
    const time = String(Math.max(0, Math.trunc(timeMs)));
    const { number } = await this.#answers.ask("audit-seek", [head, counters, audit], [time]);
    return number;
  }

  /** See `AuditLog.points`. */
  async points(
    partition: number,
    numbers: readonly number[],
  ): Promise<readonly (ChainPoint | undefined)[]> {
    const { head, chain } = keysOf(partition);
    const names = numbers.map(String);
    const { session, rest } = await this.#answers.ask("audit-points", [head, chain], names);
    return (rest[0] as Buffer[]).map((stored, at) =>
      this.#point(session, partition, names[at] ?? "", stored),
    );
  }

  /** See `AuditLog.extend`. */
  async extend(
    partition: number,
    from: ChainPoint,
    points: readonly ChainPoint[],
    epoch: number,
    base?: ChainPoint,
  ): Promise<boolean> {
    const last = points.at(-1);
    const kept = points.filter(({ number }) => number % checkpointEvery === 0);
    const set = new Map(kept.map((point) => [String(point.number), point]));
    if (last !== undefined) set.set("head", last);
    if (base !== undefined) set.set("base", base);
    const reply = await this.#chain(partition, epoch, { from, base, set });
    return reply.result === "committed";
  }

  /** See `AuditLog.trim`. */
  async trim(partition: number, base: ChainPoint, epoch: number): Promise<void> {
    const standing = (await this.standings())[partition];
    const gone: string[] = [];
    const first = Math.floor((standing?.base.number ?? 0) / checkpointEvery) * checkpointEvery;
    for (let number = first; number <= base.number; number += checkpointEvery) {
      gone.push(String(number));
    }
    await this.#chain(partition, epoch, { base, set: new Map([["base", base]]), gone });
  }

  /** See `AuditLog.sinkPoints`. */
  async sinkPoints(sink: string): Promise<ReadonlyMap<number, SinkPoint>> {
    const answer = await this.#answers.ask("audit-sinks", [sys.head, sysKeys.auditSinks], []);
    await this.#answers.coverAll(answer.session);
    const flat = answer.rest[0] as Buffer[];
    const stored = new Map<string, Buffer>();
    for (let at = 0; at + 1 < flat.length; at += 2) {
      stored.set(String(flat[at]), flat[at + 1] ?? none);
    }
    const points = new Map<number, SinkPoint>();
    for (const partition of allTrails.keys()) {
      const place = sinkPlace(sink, partition);
      const found = stored.get(place.field) ?? none;
      const value = this.#context.values.read(answer.session.storageKeys, place, found);
      if (value?.length !== sinkPointLength) continue;
      points.set(partition, { number: value.readUIntBE(0, 6), hash: value.subarray(6) });
    }
    return points;
  }

  /** See `AuditLog.setSinkPoints`. */
  async setSinkPoints(
    sink: string,
    points: ReadonlyMap<number, SinkPoint>,
    epoch: number,
  ): Promise<void> {
    if (points.size === 0) return;
    const keys = [sys.head, sysKeys.epoch, sysKeys.auditSinks];
    await this.#write("set-audit-sink", sysPartition, keys, epoch, ({ newest }) =>
      [...points].flatMap(([partition, { number, hash }]): Argument[] => {
        const value = Buffer.alloc(sinkPointLength);
        value.writeUIntBE(number, 0, 6);
        value.set(hash, 6);
        const place = sinkPlace(sink, partition);
        return [place.field, this.#context.values.withProof(newest, place, value)];
      }),
    );
  }

  /** A point of the chain; one that does not prove itself is used, but reported. */
  #point(
    { storageKeys }: PrimarySession,
    partition: number,
    field: string,
    stored: unknown,
  ): ChainPoint | undefined {
    const point = stored as Buffer | null | undefined;
    if (!point?.length) return undefined;
    // A release that knew no proofs wrote it.
    const found = point.length === pointLength ? { value: point, proof: none } : split(point);
    const place = { key: keysOf(partition).chain, field };
    const reason = `point ${field} of the chain does not prove itself: somebody changed it in Redis`;
    const event = { type: "auditFault", partition, reason } as const;
    this.#context.values.proves(storageKeys, place, found, event);
    return readPoint(found.value);
  }

  #chain(
    partition: number,
    epoch: number,
    {
      from,
      base,
      set,
      gone = [],
    }: {
      readonly from?: ChainPoint;
      readonly base: ChainPoint | undefined;
      readonly set: ReadonlyMap<string, ChainPoint>;
      readonly gone?: readonly string[];
    },
  ): Promise<Reply> {
    const { head, counters, chain, audit, shares } = keysOf(partition);
    const keys = [head, counters, sysKeys.epoch, chain, audit, shares];
    const text = (point: ChainPoint | undefined) => (point ? String(point.number) : "");
    const on = partitionOfTrail(partition);
    return this.#write("audit-chain", on, keys, epoch, ({ newest }) => [
      ...[text(from), text(base), String(set.size)],
      ...[...set].flatMap(([field, point]): Argument[] => {
        const place = { key: chain, field };
        return [field, this.#context.values.withProof(newest, place, writePoint(point))];
      }),
      ...gone,
    ]);
  }

  async #write(
    name: ScriptName,
    partition: number,
    keys: readonly Argument[],
    epoch: number,
    argsOf: (keys: StorageKeys) => readonly Argument[],
  ): Promise<Reply> {
    this.#leader.assertEpoch(epoch);
    const session = this.#sessions.now("write") ?? (await this.#sessions.require("write"));
    const script = this.#context.scripts[name];
    const fence = [String(epoch), session.storageKeys.stamp];
    const args = [...fence, ...argsOf(session.storageKeys)];
    const reply = await session.groupCommit.submit(script, partition, keys, args);
    refuseDeposed(reply.result, epoch);
    return reply;
  }
}

function keysOf(partition: number): TrailKeys {
  const keys = allTrails[partition];
  if (keys === undefined) throw new RangeError(`partition ${partition} does not exist`);
  return keys;
}

function sinkPlace(sink: string, partition: number): ValuePlace {
  return { key: sysKeys.auditSinks, field: `${sink}/${partition}` };
}

/** Number, bytes and time (6 bytes each), hash. */
function writePoint({ number, bytes, timeMs, hash }: ChainPoint): Buffer {
  const value = Buffer.alloc(pointLength);
  value.writeUIntBE(number, 0, 6);
  value.writeUIntBE(bytes, 6, 6);
  value.writeUIntBE(timeMs, 12, 6);
  value.set(hash, 18);
  return value;
}

function readPoint(point: Buffer): ChainPoint {
  if (point.length !== pointLength) {
    throw new StoreUnavailable("badReply", "malformed point of the audit chain");
  }
  return {
    number: point.readUIntBE(0, 6),
    bytes: point.readUIntBE(6, 6),
    timeMs: point.readUIntBE(12, 6),
    hash: Uint8Array.from(point.subarray(18)),
  };
}
