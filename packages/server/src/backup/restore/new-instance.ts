import {
  type AuditEvent,
  changeRecord,
  delayedAnew,
  deletionRegion,
  isDestroyed,
  kindOf,
  type ManagedObject,
  type OwnStore,
  partitionOf,
  readRecord,
  refuseUnknown,
  type SystemRecord,
  systemInstance,
  withoutSealedDigest,
} from "@holdfast/engine";
import { joinKeepingSeals, mergeInto } from "@holdfast/regions";
import { ArchiveFault } from "../archive/archive-format.ts";
import type { ArchiveReader } from "../archive/archive-reader.ts";
import { eachPage, type Scanned } from "../archive/scan.ts";
import { patiently } from "../patiently.ts";
import { ArchivedSystem, type SystemStore } from "./archived-system.ts";
import type { CommandKeyRing } from "./key-rings.ts";
import { latestSeconds, type RestoreTarget } from "./restore.ts";
import { systemRecords } from "./system-records.ts";

/** Which deleted instance's objects to restore, and where. */
export interface NewInstanceWish {
  /** Identifier of the instance that was deleted. */
  readonly deleted: string;
  /** Name or identifier of the new one, which was created for this and has an owner of its own. */
  readonly into: string;
}

/** How they are restored there. */
export interface NewInstanceOptions {
  readonly apply: boolean;
  readonly region: string;
  /** Opens what is in a store with the roots of trust that it names. */
  readonly openKeyRing: (store: SystemStore) => Promise<CommandKeyRing>;
  /** The pending event, written together with the new instance's record. */
  readonly audit: readonly AuditEvent[];
  readonly progress?: (records: number) => void;
}

/** What became of a deleted instance's objects. */
export interface NewInstanceReport {
  readonly name: string;
  /** Sealed anew under the new instance's key. */
  readonly restored: number;
  /** Destroyed one by one before the instance was: without material, or to be restored one by one. */
  readonly destroyed: number;
  /** Already there, from an earlier run. */
  readonly already: number;
  /** The first objects that could not be opened, or contradict what is known of them, and why. */
  readonly failed: readonly { readonly uniqueIdentifier: string; readonly reason: string }[];
  readonly failures: number;
}

const failedMax = 10;
const reservedMs = 10_000;

/** Finds the instance to restore into, so that its approval is of this one, whatever name it gets later. */
export async function findNewInstance(
  target: RestoreTarget,
  wish: NewInstanceWish,
): Promise<{ readonly id: string; readonly name: string }> {
  const { instance: id, name } = newInstanceOf(await systemOf(target), wish).record;
  return { id, name };
}

/**
 * The only way to restore a deleted instance's objects: into another instance that was created for
 * this, sealed anew under that one's key. They keep their identifiers, objects destroyed one by one
 * stay destroyed, and the old instance stays marked as deleted. May be run again until complete.
 */
export async function restoreIntoNew(
  reader: ArchiveReader,
  scanned: Scanned,
  target: RestoreTarget,
  wish: NewInstanceWish,
  options: NewInstanceOptions,
): Promise<NewInstanceReport> {
  const system = await systemOf(target);
  refuseLiving(system, wish.deleted);
  const into = newInstanceOf(system, wish);
  const { instance, name } = into.record;
  await checkNew(target, into.record, wish.deleted);
  const archived = archivedSystem(scanned, wish.deleted);
  await using old = await options.openKeyRing(archived);
  await using fresh = await options.openKeyRing(target.own);
  if (options.apply) await claim(target.own, into.object, wish.deleted, options);
  const run = new Move({ ...target, old, fresh, from: wish.deleted, to: instance }, options);
  const copies = await copiesOf(reader, wish.deleted);
  await eachPage(reader, (objects) =>
    run.page(objects.filter((object) => object.instance === wish.deleted && copies.isLast(object))),
  );
  return { name, ...run.report };
}

interface MoveParts extends RestoreTarget {
  readonly old: CommandKeyRing;
  readonly fresh: CommandKeyRing;
  readonly from: string;
  readonly to: string;
}

class Move {
  readonly report = {
    restored: 0,
    destroyed: 0,
    already: 0,
    failures: 0,
    failed: [] as { readonly uniqueIdentifier: string; readonly reason: string }[],
  };
  readonly #parts: MoveParts;
  readonly #options: NewInstanceOptions;
  #done = 0;

  constructor(parts: MoveParts, options: NewInstanceOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  async page(objects: readonly ManagedObject[]): Promise<void> {
    if (objects.length === 0) return;
    const { own, peers, from, to, timers, observe } = this.#parts;
    const ids = objects.map(({ uniqueIdentifier }) => uniqueIdentifier);
    const there = await own.records(partitionOf(to), ids);
    refuseUnknown(there);
    const has = new Set(
      there.objects
        .filter(({ instance }) => instance === to)
        .map(({ uniqueIdentifier }) => uniqueIdentifier),
    );
    const tombs: ManagedObject[] = [];
    for (const source of [own, ...peers]) {
      const found = await source.records(partitionOf(from), ids);
      refuseUnknown(found);
      tombs.push(...found.objects.filter(({ instance }) => instance === from));
    }
    const moved: ManagedObject[] = [];
    for (const object of objects) {
      if (has.has(object.uniqueIdentifier)) {
        this.report.already += 1;
        continue;
      }
      const own = tombs.filter(
        ({ uniqueIdentifier }) => uniqueIdentifier === object.uniqueIdentifier,
      );
      const now = afterwards(object, own);
      if (now === undefined) {
        this.#fail(object, "it contradicts what was known of it when its instance was deleted");
        continue;
      }
      // Its instance was deleted, so nobody could restore it until now.
      const facts = delayedAnew(now.facts, latestSeconds(timers));
      const made = await this.#sealed({ ...now, facts });
      if (made !== undefined) moved.push(made);
    }
    if (this.#options.apply && moved.length > 0) {
      const merging = { from: "backup", timers, observe, reservedMs };
      const results = await patiently(timers, () => mergeInto(own, moved, merging));
      const refused = results.find(({ result }) => result !== "written" && result !== "same");
      if (refused !== undefined) {
        throw new ArchiveFault(
          `the new instance does not take its objects (${refused.result}): is it Installed?`,
        );
      }
    }
    this.#done += objects.length;
    this.#options.progress?.(this.#done);
  }

  /** The object in the new instance; undefined if its material cannot be opened. */
  async #sealed(object: ManagedObject): Promise<ManagedObject | undefined> {
    const { old, fresh, from, to } = this.#parts;
    const { uniqueIdentifier, objectType, material } = object;
    const moved = { ...object, instance: to, fixed: withoutSealedDigest(object.fixed) };
    if (material === undefined) {
      if (object.facts.destroyed !== undefined) this.report.destroyed += 1;
      else this.report.restored += 1;
      return moved;
    }
    try {
      const binding = { instance: from, uniqueIdentifier, objectType };
      const plaintext = await old.open(binding, material);
      try {
        const sealed = await fresh.seal({ ...binding, instance: to }, plaintext);
        if (isDestroyed(object.facts)) this.report.destroyed += 1;
        else this.report.restored += 1;
        return { ...moved, material: sealed };
      } finally {
        plaintext.fill(0);
      }
    } catch (error) {
      this.#fail(object, error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  #fail({ uniqueIdentifier }: ManagedObject, reason: string): void {
    this.report.failures += 1;
    if (this.report.failed.length < failedMax)
      this.report.failed.push({ uniqueIdentifier, reason });
  }
}

/**
 * An object with what happened to it after the backup, as the tombstones of the deleted instance
 * still show: all but its destruction together with the instance. Undefined if one of them contradicts it: whether it was
 * destroyed is then unknown. A rekey after the backup has sealed the tombstone's Digest under another KEK.
 */
function afterwards(
  object: ManagedObject,
  tombs: readonly ManagedObject[],
): ManagedObject | undefined {
  let now = object;
  for (const tomb of tombs) {
    const { destroyed, ...facts } = tomb.facts;
    const byDeletion = destroyed?.region === deletionRegion;
    const after = byDeletion ? { ...tomb, facts, material: now.material } : tomb;
    const outcome = joinKeepingSeals(now, after);
    if (outcome.kind === "conflict") return undefined;
    now = outcome.object;
  }
  return now;
}

/** The records of instances as all regions know them. */
async function systemOf({
  own,
  peers,
}: RestoreTarget): Promise<ReadonlyMap<string, ManagedObject>> {
  const records = new Map<string, ManagedObject>();
  for (const source of [own, ...peers]) {
    for await (const object of systemRecords(source)) {
      // Of all kinds only this one is looked at.
      if (kindOf(object) !== "Instance") continue;
      const known = records.get(object.uniqueIdentifier);
      const outcome = known === undefined ? undefined : joinKeepingSeals(known, object);
      if (outcome?.kind === "conflict") {
        throw new ArchiveFault(
          `the regions' records of instance ${object.uniqueIdentifier} contradict each other: see the quarantine`,
        );
      }
      records.set(object.uniqueIdentifier, outcome?.object ?? object);
    }
  }
  return records;
}

function instancesIn(records: ReadonlyMap<string, ManagedObject>) {
  return [...records.values()].flatMap((object) => {
    const record = readRecord("Instance", object);
    return record === undefined ? [] : [{ object, record }];
  });
}

/** Refuses an instance that was not deleted. */
function refuseLiving(system: ReadonlyMap<string, ManagedObject>, deleted: string): void {
  const found = instancesIn(system).find(({ record }) => record.instance === deleted);
  if (found?.record.destroyed !== undefined) return;
  throw new ArchiveFault(
    `--deleted-instance ${deleted}: no instance with this identifier was deleted here: a plain \`holdfast backup restore\` brings back what is missing`,
  );
}

function newInstanceOf(
  system: ReadonlyMap<string, ManagedObject>,
  { into, deleted }: NewInstanceWish,
) {
  const found = instancesIn(system).find(
    ({ record: { destroyed, instance, name } }) =>
      destroyed === undefined && (instance === into || name === into),
  );
  if (found === undefined) {
    throw new ArchiveFault(
      `--into-new-instance ${into}: instance not found: create and configure it first, so that its keys have a root of trust`,
    );
  }
  if (partitionOf(found.record.instance) === partitionOf(deleted)) {
    throw new ArchiveFault(
      `--into-new-instance ${into}: it shares a partition with the deleted one, whose marks hold the identifiers there: create another one`,
    );
  }
  return found;
}

/** Requires it to be empty, except for what an earlier run of the same restore wrote. */
async function checkNew(
  { own }: RestoreTarget,
  { instance, name, restoredFrom }: SystemRecord<"Instance">,
  deleted: string,
): Promise<void> {
  const status = await own.status(instance);
  if (status !== "Installed") {
    throw new ArchiveFault(
      `--into-new-instance ${name}: it is ${status ?? "not Installed"}: configure its root of trust first`,
    );
  }
  if (restoredFrom === deleted) return;
  const counts = await own.counts(instance);
  const total = Object.values(counts ?? {}).reduce((sum, count) => sum + count, 0);
  if (counts === undefined || total > 0) {
    throw new ArchiveFault(
      `--into-new-instance ${name}: it has ${counts === undefined ? "uncounted" : total} objects of its own: create a new one`,
    );
  }
}

/** Writes into the new instance's record where its objects come from, with the pending event. */
async function claim(
  own: OwnStore,
  record: ManagedObject,
  deleted: string,
  { audit, region }: NewInstanceOptions,
): Promise<void> {
  const [before] = await own.read(systemInstance, [record.uniqueIdentifier]);
  if (before === undefined)
    throw new ArchiveFault("the new instance is not known here yet: try again");
  const us = audit[0] === undefined ? 0 : audit[0].time * 1_000;
  const after = changeRecord("Instance", before.object, { restoredFrom: deleted }, { us, region });
  const outcome = await own.commit(systemInstance, [{ kind: "update", before, after }], audit);
  if (outcome.kind !== "committed") {
    throw new ArchiveFault("the new instance's record changes at this moment: try again");
  }
}

/** The archive's records of the deleted instance and its keys, as they were then. */
function archivedSystem({ system }: Scanned, deleted: string): ArchivedSystem {
  return new ArchivedSystem(
    system.filter(
      (object) => kindOf(object) === "Kek" || readRecord("Instance", object)?.instance === deleted,
    ),
  );
}

/** Of several copies of a record the last is the newest: the others are skipped. */
async function copiesOf(reader: ArchiveReader, instance: string) {
  const once = new Set<string>();
  const more = new Map<string, number>();
  await eachPage(reader, async (objects) => {
    for (const { uniqueIdentifier: id, instance: its } of objects) {
      if (its !== instance) continue;
      if (once.has(id)) more.set(id, (more.get(id) ?? 1) + 1);
      once.add(id);
    }
  });
  return {
    isLast: ({ uniqueIdentifier: id }: ManagedObject): boolean => {
      const left = more.get(id);
      if (left === undefined || left === 1) return true;
      more.set(id, left - 1);
      return false;
    },
  };
}

/** A report as lines of text. */
export function newInstanceLines(report: NewInstanceReport, applied: boolean): readonly string[] {
  const { name, restored, destroyed, already, failures, failed } = report;
  const verb = applied ? "were" : "would be";
  return [
    `${restored} objects ${verb} restored into instance ${name}, sealed anew under its key, with their identifiers`,
    ...(destroyed > 0 ? [`${destroyed} were destroyed before the instance was, and stay so`] : []),
    ...(already > 0 ? [`${already} are there already`] : []),
    ...(failures > 0 ? [`${failures} could not be restored:`] : []),
    ...failed.map(({ uniqueIdentifier, reason }) => `  ${uniqueIdentifier}: ${reason}`),
    applied
      ? "the deleted instance stays deleted; give the new one's clients their certificates"
      : "nothing was written: give --apply to restore it",
  ];
}
