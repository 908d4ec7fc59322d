import {
  type Clock,
  delayedAnew,
  type InstanceStatuses,
  type ManagedObject,
  type Observer,
  type OwnStore,
  partitionOf,
  pendingDestruction,
  type ReplicationSource,
  readKekRecord,
  readRecord,
  recordTag,
  refuseUnknown,
  type StoredObject,
  systemInstance,
  type Timers,
  updateRecord,
  type WrappedKek,
  withKekWrap,
} from "@holdfast/engine";
import { joinKeepingSeals, mergeInto, type Peer } from "@holdfast/regions";
import { ArchiveFault } from "../archive/archive-format.ts";
import type { ArchiveReader } from "../archive/archive-reader.ts";
import { eachPage, recordsPerTurn, type Scanned, type Turn } from "../archive/scan.ts";
import { patiently } from "../patiently.ts";
import { systemRecords } from "./system-records.ts";

/** What an archive is restored into: a region's own store, and other regions that may know more. */
export interface RestoreTarget {
  readonly own: OwnStore & Pick<InstanceStatuses, "install" | "status">;
  /** All that are not retired; each of them can be reached. */
  readonly peers: readonly Pick<Peer, "region" | "changes" | "records">[];
  readonly timers: Timers;
  readonly observe: Observer;
}

/** How many of an archive's records have which outcome. */
export interface RestoreReport {
  /** Not in the store: they are made. */
  readonly made: number;
  /** In the store, but the archive knows something of them that is not known there. */
  readonly added: number;
  /** In the store, with everything that the archive knows of them. */
  readonly known: number;
  /** Of those known, changed in the store since the backup was made: what is newer stays. */
  readonly newer: number;
  /** Of those added and known, destroyed since the backup was made: they stay destroyed. */
  readonly destroyed: number;
  /** Of an instance that was deleted: they are not restored. */
  readonly deleted: number;
  /** Another object has the identifier: both are kept, the archive's in quarantine. */
  readonly contradicting: number;
  /** Held by an agreed operation for too long, or refused: run the restore again. */
  readonly left: number;
  /** Instances that get their status back. */
  readonly instances: readonly string[];
}

/** How a restore is made. */
export interface RestoreOptions {
  /** Without it, nothing is written. */
  readonly apply: boolean;
  readonly progress?: (records: number) => void;
  /** Taken now and then: a node that compares serves clients as well. */
  readonly turn?: Turn;
}

const pageRecords = 256;
const reservedMs = 10_000;
/** How many pages are joined at the same time: their changes share barriers. */
const pagesAtOnce = 4;

/**
 * Joins a scanned archive into a store, with the merge that catch-up uses: what is newer in the
 * store stays, destroyed objects stay destroyed, and deleted instances stay deleted. May be run
 * again at any time.
 */
export async function restoreArchive(
  reader: ArchiveReader,
  scanned: Scanned,
  target: RestoreTarget,
  options: RestoreOptions,
): Promise<RestoreReport> {
  const restore = new Restore(target, options);
  return await restore.run(reader, scanned);
}

class Restore {
  readonly #target: RestoreTarget;
  readonly #options: RestoreOptions;
  readonly #report = {
    made: 0,
    added: 0,
    known: 0,
    newer: 0,
    destroyed: 0,
    deleted: 0,
    left: 0,
  };
  /** Identifiers of records that contradict what the store has. */
  readonly #contradicting = new Set<string>();
  #deleted: ReadonlySet<string> = new Set();
  #done = 0;

  constructor(target: RestoreTarget, options: RestoreOptions) {
    this.#target = target;
    this.#options = options;
  }

  async run(reader: ArchiveReader, scanned: Scanned): Promise<RestoreReport> {
    const { apply } = this.#options;
    this.#deleted = await this.#deletedInstances(scanned);
    for (let at = 0; at < scanned.system.length; at += pageRecords) {
      await this.#page(scanned.system.slice(at, at + pageRecords));
    }
    if (apply) await this.#keepKeks(scanned.system);
    const together = new Together(pagesAtOnce);
    await eachPage(reader, (objects) =>
      together.add(() => this.#page(objects.filter(({ instance }) => instance !== systemInstance))),
    );
    await together.end();
    const contradicting = this.#contradicting.size;
    return { ...this.#report, contradicting, instances: await this.#statuses(scanned) };
  }

  /** Instances that were deleted, according to the archive or any region. */
  async #deletedInstances({ system, statuses }: Scanned): Promise<ReadonlySet<string>> {
    const deleted = new Set<string>();
    const note = (objects: readonly ManagedObject[]): void => {
      for (const object of objects) {
        const instance = deletedInstance(object);
        if (instance !== undefined) deleted.add(instance);
      }
    };
    note(system);
    for (const source of [this.#target.own, ...this.#target.peers]) {
      for await (const object of systemRecords(source)) note([object]);
    }
    for (const { instance, status } of statuses) {
      if (status === "Deleted") deleted.add(instance);
      else if ((await this.#target.own.status(instance)) === "Deleted") deleted.add(instance);
    }
    return deleted;
  }

  /**
   * Writes the wraps of the archive's KEKs anew, where their instance has other ones too, in any region: a rekey removes or
   * has removed the older ones, and the archive's records need them. Also those of a KEK that has lost all of its wraps.
   */
  async #keepKeks(system: readonly ManagedObject[]): Promise<void> {
    const known = await this.#knownKeks();
    for (const { kek, instance } of system.flatMap((object) => readKekRecord(object) ?? [])) {
      const has = known.get(instance)?.size ?? 0;
      if (kek.wraps.length > 0 && !this.#deleted.has(instance)) {
        await this.#keepKek(kek, has > 1);
      }
    }
  }

  /** The ids of each instance's KEKs that a region has a record of. */
  async #knownKeks(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
    const { own, peers } = this.#target;
    const known = new Map<string, Set<string>>();
    for (const source of [own, ...peers]) {
      for await (const object of systemRecords(source)) {
        const { instance, kek } = readKekRecord(object) ?? {};
        if (instance === undefined || kek === undefined) continue;
        known.set(instance, (known.get(instance) ?? new Set()).add(kek.id));
      }
    }
    return known;
  }

  /** Writes a KEK's wraps: those of the archive if it has none, and those that it has if `anew`. */
  async #keepKek({ id, wraps: archived }: WrappedKek, anew: boolean): Promise<void> {
    const { own, timers } = this.#target;
    const now = { us: Math.floor(timers.wallMs() * 1_000), region: archived[0]?.region ?? "" };
    const edit = (before: StoredObject | undefined) => {
      const present = (before && readKekRecord(before.object))?.kek.wraps ?? [];
      if (present.length > 0 && !anew) return undefined;
      const wraps = present.length === 0 ? archived : present;
      return before && wraps.reduce((record, one) => withKekWrap(record, one, now), before.object);
    };
    await patiently(timers, () =>
      updateRecord(own, id, edit, { what: `key-encryption key ${id}` }),
    );
  }

  async #page(objects: readonly ManagedObject[]): Promise<void> {
    const partitions = new Map<number, ManagedObject[]>();
    for (const object of objects) {
      if (this.#deleted.has(object.instance)) {
        this.#report.deleted += 1;
        continue;
      }
      const partition = partitionOf(object.instance);
      partitions.set(partition, [...(partitions.get(partition) ?? []), object]);
    }
    for (const [partition, some] of partitions) await this.#join(partition, some);
    this.#done += objects.length;
    this.#options.progress?.(this.#done);
  }

  async #join(partition: number, objects: readonly ManagedObject[]): Promise<void> {
    const ids = [...new Set(objects.map(({ uniqueIdentifier }) => uniqueIdentifier))];
    const here = await this.#copies(this.#target.own, partition, ids);
    const copies: ManagedObject[] = [];
    const there = new Map<string, ManagedObject>();
    for (const peer of this.#target.peers) {
      const found = await this.#copies(peer, partition, ids);
      copies.push(...found.values());
      for (const [id, copy] of found) there.set(id, joined(there.get(id), copy));
    }
    const wanted: ManagedObject[] = [];
    for (const [at, object] of objects.entries()) {
      if (at % recordsPerTurn === 0) await this.#options.turn?.();
      if (this.#needs(object, here, there)) wanted.push(object);
    }
    if (!this.#options.apply || wanted.length === 0) return;
    // First what the other regions know: nothing destroyed there may be readable here for a moment.
    const needed = new Set(wanted.map(({ uniqueIdentifier }) => uniqueIdentifier));
    await this.#merge(copies.filter(({ uniqueIdentifier }) => needed.has(uniqueIdentifier)));
    await this.#merge(wanted.map((object) => this.#withDelayAnew(object, here, there)));
  }

  /**
   * An archive's copy as it is written: where no region knows its destruction, nobody knows what came after it, so its
   * delay begins anew.
   */
  #withDelayAnew(
    object: ManagedObject,
    ...known: readonly ReadonlyMap<string, ManagedObject>[]
  ): ManagedObject {
    const pending = pendingDestruction(object.facts);
    if (pending === undefined) return object;
    const isKnown = known.some((copies) => {
      const copy = copies.get(object.uniqueIdentifier);
      return (copy?.facts.destruction?.us ?? Number.NEGATIVE_INFINITY) >= pending.us;
    });
    const nowSeconds = latestSeconds(this.#target.timers);
    return isKnown ? object : { ...object, facts: delayedAnew(object.facts, nowSeconds) };
  }

  async #merge(objects: readonly ManagedObject[]): Promise<void> {
    if (objects.length === 0) return;
    const { own, timers, observe } = this.#target;
    const merging = { from: "backup", timers, observe, reservedMs };
    const merged = await patiently(timers, () => mergeInto(own, objects, merging));
    for (const [at, { result }] of merged.entries()) {
      if (result === "reserved" || result === "refused" || result === "unreadable")
        this.#report.left += 1;
      else if (result === "quarantined") this.#contradicts(objects[at]);
    }
  }

  #contradicts(object: ManagedObject | undefined): void {
    if (object !== undefined) this.#contradicting.add(object.uniqueIdentifier);
  }

  async #copies(
    source: Pick<ReplicationSource, "records">,
    partition: number,
    ids: readonly string[],
  ): Promise<ReadonlyMap<string, ManagedObject>> {
    const found = await patiently(this.#target.timers, () => source.records(partition, ids));
    refuseUnknown(found);
    return new Map(found.objects.map((object) => [object.uniqueIdentifier, object]));
  }

  /** Counts the outcome of an archive's copy; returns whether it has to be joined in. */
  #needs(
    object: ManagedObject,
    here: ReadonlyMap<string, ManagedObject>,
    there: ReadonlyMap<string, ManagedObject>,
  ): boolean {
    const report = this.#report;
    const id = object.uniqueIdentifier;
    const [own, others] = [here.get(id), there.get(id)];
    const known = own === undefined || others === undefined ? (own ?? others) : joined(own, others);
    if (known === undefined) {
      report.made += 1;
      return true;
    }
    const outcome =
      known.instance === object.instance ? joinKeepingSeals(known, object) : undefined;
    if (outcome?.kind !== "joined") {
      this.#contradicts(object);
      return true;
    }
    if (known.facts.destroyed !== undefined && object.facts.destroyed === undefined) {
      report.destroyed += 1;
    }
    if (isSame(outcome.object, known)) {
      report.known += 1;
      if (!isSame(known, object)) report.newer += 1;
      // It may be in the other region only.
      return own === undefined;
    }
    report.added += 1;
    return true;
  }

  /** Restores missing statuses of instances, last of all: none is served before it is complete. */
  async #statuses({ statuses }: Scanned): Promise<readonly string[]> {
    const { own, timers } = this.#target;
    const restored: string[] = [];
    for (const { instance, status } of statuses) {
      if (status !== "Installed" || this.#deleted.has(instance)) continue;
      if ((await patiently(timers, () => own.status(instance))) !== undefined) continue;
      if (this.#options.apply) await patiently(timers, () => own.install(instance));
      restored.push(instance);
    }
    return restored;
  }
}

/** Runs work at the same time; after a failure, rejects when all that is under way has ended. */
class Together {
  readonly #most: number;
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(most: number) {
    this.#most = most;
  }

  /** Resolves when there is room for more. */
  async add(work: () => Promise<void>): Promise<void> {
    const run = work()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
    if (this.#running.size >= this.#most) await Promise.race(this.#running);
    if (this.#failure !== undefined) await this.end();
  }

  async end(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** When a delay begins that begins now: a machine whose clock is behind must not shorten it. */
export function latestSeconds({ wallMs, doubt }: Pick<Clock, "wallMs" | "doubt">): number {
  return Math.max(Math.floor(wallMs() / 1_000), doubt?.()?.latestSeconds ?? 0);
}

/** The instance that a record shows as deleted for good. */
function deletedInstance(object: ManagedObject): string | undefined {
  const record = readRecord("Instance", object);
  return record?.destroyed === undefined ? undefined : record.instance;
}

function joined(one: ManagedObject | undefined, other: ManagedObject): ManagedObject {
  if (one === undefined) return other;
  const outcome = joinKeepingSeals(one, other);
  // Two regions' copies that contradict each other stay as they are.
  return outcome.kind === "joined" ? outcome.object : one;
}

function isSame(one: ManagedObject, other: ManagedObject): boolean {
  return recordTag(one) === recordTag(other);
}

/** A report as lines of text. */
export function reportLines(report: RestoreReport, applied: boolean): readonly string[] {
  const verb = applied ? "were" : "would be";
  const rows: readonly (readonly [number, string])[] = [
    [report.made, `${verb} made`],
    [report.added, `${verb} completed with what the backup knows of them`],
    [report.known, "are there already, with everything that the backup knows of them"],
    [report.newer, "of these were changed since the backup was made, and stay as they are now"],
    [report.destroyed, "of all were destroyed since the backup was made, and stay destroyed"],
    [report.deleted, "belong to an instance that was deleted, and are not restored"],
    [report.contradicting, "contradict another object with their identifier: see the quarantine"],
    [report.left, "were held or refused: run the restore again"],
  ];
  const lines = rows
    .filter(([count]) => count > 0)
    .map(([count, says]) => `${count} records ${says}`);
  const { instances } = report;
  const status = instances.map((instance) => `instance ${instance} ${verb} Installed again`);
  return lines.length + status.length === 0 ? ["the backup is empty"] : [...lines, ...status];
}

/** Refuses an archive that lacks records, since these were damaged in its store. */
export function refuseDamaged({ trailer }: Scanned, file: string): void {
  if (trailer.damaged === 0) return;
  throw new ArchiveFault(
    `${file}: ${trailer.damaged} records of the store were damaged when it was made and are not in it; give --although-damaged to restore the others`,
  );
}
