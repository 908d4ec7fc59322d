import {
  type Change,
  encodeRecord,
  isCorrupt,
  type JoinResult,
  type ManagedObject,
  type Observer,
  type OwnStore,
  partitionOf,
  type StoredObject,
  StoreUnavailable,
  type Timers,
} from "@holdfast/engine";
import { failureIn } from "../ports/waiting.ts";
import { refusalOf } from "./acceptable.ts";
import { isFull } from "./full.ts";
import { joinOpened, type OpenedJoin, putBrokenAside, type Seals } from "./heal.ts";
import { type Ahead, clockAhead, join, joinKeepingSeals, settled, storedOf } from "./join.ts";
import { judged, type MayJoin, type OwnBefore } from "./may-join.ts";
import { type OwnCopy, readEach } from "./read-each.ts";

/** A copy's result, and the record that the own store has now. */
export interface Merged {
  readonly result: JoinResult;
  readonly stored?: StoredObject;
  /** The own seals or copy stay only because the instance's key is closed: the copy is to be joined again once it opens. */
  readonly closed?: boolean;
}

export interface MergeOptions {
  /** The region whose copies these are, for events. */
  readonly from: string;
  readonly timers: Timers;
  readonly observe: Observer;
  /** How long to wait for a record that an agreed operation holds; 0 unless given. */
  readonly reservedMs?: number;
  /** How two copies become one; `join` in the product. */
  readonly join?: typeof join;
  /** Decides between copies that differ in what is sealed. */
  readonly seals?: Seals | undefined;
  /** Decides what this region takes from another; everything unless given. */
  readonly mayJoin?: MayJoin | undefined;
  /**
   * Called for a damaged record first, where a copy may be older than what the other regions have now: repairs the record
   * from that. The copy takes the place of what is damaged still.
   */
  readonly repair?: (instance: string, uniqueIdentifier: string) => Promise<void>;
}

/** Names of regions are DNS labels. */
const regionNameMax = 63;
/** How often a merge starts again because another writer was faster. */
const attemptsMax = 32;
/** Most records in one script: every other client waits while it runs. */
const recordsPerCommit = 64;
/** How long between two looks at a record that an agreed operation holds. */
const reservedPauseMs = 50;

/**
 * Joins copies of another region into the own store, in one commit per instance (of at most 64
 * records). A new record, which most pushes carry, takes one round trip. The results are in the
 * order of the objects. Rejects with `StoreUnavailable` where the store fails; what was written by
 * then stays.
 */
export async function mergeInto(
  own: OwnStore,
  objects: readonly ManagedObject[],
  options: MergeOptions,
): Promise<readonly Merged[]> {
  warnOfClocks(objects, options);
  const results = new Map<ManagedObject, Merged>();
  const runs = batches(objects).map(async (batch) => {
    const merge = new InstanceMerge(own, batch, options);
    for (const [object, merged] of await merge.run()) results.set(object, merged);
  });
  await Promise.all(runs);
  return objects.map((object) => {
    const merged = results.get(object);
    if (merged === undefined) throw new Error("a merge lost an object");
    options.observe({ type: "join", region: options.from, result: merged.result });
    return merged;
  });
}

function warnOfClocks(objects: readonly ManagedObject[], options: MergeOptions): void {
  const now = options.timers.wallMs();
  let furthest: Ahead | undefined;
  for (const object of objects) {
    const ahead = clockAhead(object, now);
    if (ahead !== undefined && ahead.ms > (furthest?.ms ?? 0)) furthest = ahead;
  }
  if (furthest === undefined) return;
  // The region that a record names becomes a label of a metric, so its length is bounded.
  const region = furthest.region.slice(0, regionNameMax);
  options.observe({ type: "clockAhead", ms: furthest.ms, region });
}

/**
 * Batches of objects of one instance each; two copies of one record stay in order, in the same
 * batch.
 */
function batches(objects: readonly ManagedObject[]): readonly (readonly ManagedObject[])[] {
  return grouped(objects, ({ instance }) => instance).flatMap((group) => {
    const byId = grouped(group, ({ uniqueIdentifier }) => uniqueIdentifier);
    const parts = Math.ceil(byId.length / recordsPerCommit);
    return Array.from({ length: parts }, (_, part) =>
      byId.slice(part * recordsPerCommit, (part + 1) * recordsPerCommit).flat(),
    );
  });
}

function grouped<Value>(
  values: readonly Value[],
  keyOf: (value: Value) => string,
): readonly (readonly Value[])[] {
  const groups = new Map<string, Value[]>();
  for (const value of values) {
    const key = keyOf(value);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [value]);
    else group.push(value);
  }
  return [...groups.values()];
}

/** A record that is still to be joined: its copies as given, and their join. */
interface Pending {
  readonly id: string;
  readonly given: readonly ManagedObject[];
  readonly object: ManagedObject;
}

/** A record's change, once it is decided. */
interface Planned {
  readonly pending: Pending;
  readonly change: Change;
  readonly stored: StoredObject;
  readonly closed?: boolean;
  /** Something else is written in the place of the copy. */
  readonly isUnproven?: boolean;
}

/** One instance's part of a merge. */
class InstanceMerge {
  readonly #own: OwnStore;
  readonly #instance: string;
  readonly #options: MergeOptions;
  readonly #join: typeof join;
  readonly #results = new Map<ManagedObject, Merged>();
  readonly #pending = new Map<string, Pending>();
  readonly #until: number;
  readonly #repaired = new Set<string>();
  /** Whether records that look new are taken for new; from the second pass on, all are read. */
  #trusting = true;

  constructor(own: OwnStore, objects: readonly ManagedObject[], options: MergeOptions) {
    this.#own = own;
    this.#instance = objects[0]?.instance ?? "";
    this.#options = options;
    this.#join = options.join ?? join;
    this.#until = options.timers.monotonicMs() + (options.reservedMs ?? 0);
    for (const object of objects) this.#add(object);
  }

  async run(): Promise<ReadonlyMap<ManagedObject, Merged>> {
    for (let attempt = 0; this.#pending.size > 0; attempt++) {
      if (attempt >= attemptsMax) {
        throw new StoreUnavailable("timeout", "too many concurrent updates of these records");
      }
      const held = await this.#pass();
      if (held.length === 0) continue;
      if (this.#options.timers.monotonicMs() < this.#until) {
        await this.#options.timers.sleep(reservedPauseMs);
        attempt -= 1;
      } else {
        for (const pending of held) this.#settle(pending, { result: "reserved" });
      }
    }
    return this.#results;
  }

  /**
   * Joins two copies of one record in one merge into one; copies that cannot be joined stay
   * separate.
   */
  #add(object: ManagedObject): void {
    const id = object.uniqueIdentifier;
    const earlier = this.#pending.get(id);
    if (earlier === undefined) {
      this.#pending.set(id, { id, given: [object], object: settled(object) });
      return;
    }
    const outcome = this.#join(earlier.object, object);
    // Copies that differ from the first are put aside in the second pass, which reads the record
    // that the first pass made.
    const key = outcome.kind === "joined" ? id : `${id}\0${this.#pending.size}`;
    const given = outcome.kind === "joined" ? [...earlier.given, object] : [object];
    const together = outcome.kind === "joined" ? outcome.object : settled(object);
    this.#pending.set(key, { id: key, given, object: together });
  }

  /** Reads, joins and writes once; returns the records that an agreed operation holds. */
  async #pass(): Promise<readonly Pending[]> {
    const pending = this.#distinct();
    const unknown = pending.filter(({ object }) => !this.#trusting || !looksNew(object));
    const copies = await readEach(
      this.#own,
      this.#instance,
      unknown.map(({ object }) => object.uniqueIdentifier),
    );
    const copyOf = new Map(unknown.map((each, at) => [each, copies[at]]));
    const held: Pending[] = [];
    const planned: Planned[] = [];
    for (const each of pending) {
      const plan = await this.#plan(each, copyOf.get(each));
      if (plan === "held") held.push(each);
      else if (plan !== undefined) planned.push(plan);
    }
    held.push(...(await this.#write(planned)));
    this.#trusting = false;
    return held;
  }

  /** What is pending, one copy per record. */
  #distinct(): readonly Pending[] {
    const byId = new Map<string, Pending>();
    for (const each of this.#pending.values()) {
      const { uniqueIdentifier } = each.object;
      if (!byId.has(uniqueIdentifier)) byId.set(uniqueIdentifier, each);
    }
    return [...byId.values()];
  }

  /** The change that a copy needs; undefined where it is settled without one, or is read first. */
  async #plan(pending: Pending, copy: OwnCopy): Promise<Planned | "held" | undefined> {
    const { object } = pending;
    if (this.#refuses(pending, object)) return undefined;
    if (copy === "unknown") {
      this.#settle(pending, { result: "unreadable" });
      return undefined;
    }
    if (copy === undefined || copy === "damaged") return await this.#planWhole(pending, copy);
    const outcome = await this.#joined(copy.object, object);
    if (outcome.kind === "conflict") return await this.#contradicted(pending, outcome);
    if (this.#refuses(pending, outcome.object)) return undefined;
    const joined = storedOf(outcome.object);
    const { closed = false } = outcome;
    if (joined.tag === copy.tag) {
      const repaired = this.#repaired.has(object.uniqueIdentifier);
      this.#settle(pending, {
        result: repaired ? "written" : "same",
        stored: joined,
        ...(closed && { closed }),
      });
      return undefined;
    }
    if (copy.reserved !== undefined) return "held";
    const judgement = await this.#judged(pending, copy, outcome.object);
    if (judgement === undefined) return undefined;
    const { stored, isUnproven } = judgement;
    if (outcome.replaces) await putBrokenAside(this.#own, copy.object, this.#options.from);
    const change: Change = { kind: "update", before: copy, after: stored.object };
    return { pending, change, stored, closed, isUnproven };
  }

  /** Puts a copy aside that contradicts the own one; while the key is closed, nobody can tell whether it does. */
  async #contradicted(
    pending: Pending,
    { reason, closed = false }: OpenedJoin & { readonly kind: "conflict" },
  ): Promise<undefined> {
    const { object } = pending;
    if (closed) {
      this.#settle(pending, { result: "refused", closed });
      return;
    }
    await this.#own.quarantine(this.#instance, object.uniqueIdentifier, reason, {
      copy: encodeRecord(object),
    });
    this.#settle(pending, { result: "quarantined" });
  }

  /** The change of a record that the own store lacks, or cannot read. */
  async #planWhole(pending: Pending, copy: "damaged" | undefined): Promise<Planned | undefined> {
    const { object } = pending;
    if (copy === undefined && this.#trusting && looksNew(object)) {
      // It needs none if the own store has it: the next pass reads it.
      if (await this.#needsProof(object)) return undefined;
      return { pending, change: { kind: "create", after: object }, stored: storedOf(object) };
    }
    const judgement = await this.#judged(pending, copy, object);
    if (judgement === undefined) return undefined;
    const { stored, isUnproven } = judgement;
    if (copy === "damaged") return await this.#repair(pending, stored.object);
    return { pending, change: { kind: "create", after: stored.object }, stored, isUnproven };
  }

  async #needsProof(object: ManagedObject): Promise<boolean> {
    const { mayJoin, from } = this.#options;
    return (await mayJoin?.(undefined, object, from)) !== undefined;
  }

  /** What is taken of a change; settles the record as unproven where that is nothing, and the own copy stays. */
  async #judged(
    pending: Pending,
    copy: Exclude<OwnCopy, "unknown">,
    after: ManagedObject,
  ): Promise<{ readonly stored: StoredObject; readonly isUnproven: boolean } | undefined> {
    const own = copy === undefined || copy === "damaged" ? undefined : copy;
    const before: OwnBefore = copy === "damaged" ? copy : own?.object;
    const { taken, reason } = await judged(before, after, this.#options.from, this.#options);
    const stored = taken && storedOf(taken);
    if (stored !== undefined && stored.tag !== own?.tag) {
      return { stored, isUnproven: reason !== undefined };
    }
    const result = reason === undefined ? "same" : "unproven";
    this.#settle(pending, { result, ...(own && { stored: own }) });
    return undefined;
  }

  /**
   * The join of the own copy and another; where they differ in what is sealed, with the parts that
   * open, under the newer KEK.
   */
  async #joined(own: ManagedObject, other: ManagedObject): Promise<OpenedJoin> {
    const outcome = this.#join(own, other);
    const { seals } = this.#options;
    if (outcome.kind === "joined") return outcome;
    return seals === undefined ? joinKeepingSeals(own, other) : await joinOpened(own, other, seals);
  }

  /** Settles a record as refused where no region makes such an object. */
  #refuses(pending: Pending, object: ManagedObject): boolean {
    const reason = refusalOf(object);
    if (reason === undefined) return false;
    const { from, observe } = this.#options;
    const id = object.uniqueIdentifier.slice(0, 36);
    observe({ type: "warning", message: `record ${id} of region ${from} is refused: ${reason}` });
    this.#settle(pending, { result: "refused" });
    return true;
  }

  /**
   * Puts the damaged own bytes aside; the copy takes their place if it has the last state that the
   * store knows of the record. An older state that proves itself is joined with the copy: this region may have acknowledged
   * it alone. The record is read again, since another writer may have been faster.
   */
  async #repair(pending: Pending, replacement: ManagedObject): Promise<undefined> {
    const { object } = pending;
    const { uniqueIdentifier } = object;
    try {
      await this.#options.repair?.(this.#instance, uniqueIdentifier);
      // A record that is repaired by now is not replaced.
      await this.#own.quarantine(this.#instance, uniqueIdentifier, "it does not decode", {
        replacement,
        // With the copy's seals: what sealed the older state may be gone.
        join: (older, copy) => {
          const outcome = joinKeepingSeals(copy, older);
          return outcome.kind === "joined" ? outcome.object : copy;
        },
      });
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      await this.#own.quarantine(this.#instance, uniqueIdentifier, failureIn(error).message, {
        copy: encodeRecord(object),
      });
      this.#settle(pending, { result: "quarantined" });
      return;
    }
    this.#repaired.add(uniqueIdentifier);
  }

  /**
   * Writes the changes; returns a record that an agreed operation holds although it does not exist.
   */
  async #write(planned: readonly Planned[]): Promise<readonly Pending[]> {
    if (planned.length === 0) return [];
    const changes = planned.map(({ change }) => change);
    const outcome = await this.#own
      .commit(this.#instance, changes, [], { joined: true })
      .catch((error: unknown) => {
        if (isFull(error)) return error;
        throw error;
      });
    if (outcome instanceof StoreUnavailable) return await this.#writeFull(planned, outcome);
    if (outcome.kind === "committed") {
      for (const { pending, stored, closed, isUnproven } of planned) {
        const result = isUnproven === true ? "unproven" : "written";
        this.#settle(pending, { result, stored, ...(closed && { closed }) });
      }
      return [];
    }
    if (outcome.kind === "instanceClosed") {
      this.#closed(planned);
      return [];
    }
    if (outcome.kind !== "conflict" && outcome.kind !== "reserved") {
      throw new Error(`a joined commit was refused: ${outcome.kind}`);
    }
    return await this.#refused(planned, outcome);
  }

  /**
   * A full store refuses records that need room, but it has many of the others already: all are
   * read first, then each change is written alone, since facts are accepted. Throws where a record
   * is refused alone.
   */
  async #writeFull(
    planned: readonly Planned[],
    full: StoreUnavailable,
  ): Promise<readonly Pending[]> {
    if (this.#trusting) return [];
    if (planned.length === 1) throw full;
    const held: Pending[] = [];
    let refused: unknown;
    for (const one of planned) {
      try {
        held.push(...(await this.#write([one])));
      } catch (error) {
        refused ??= error;
      }
    }
    if (refused !== undefined) throw refused;
    return held;
  }

  /** A deleted instance accepts records that are destroyed for good, in a commit that has no others. */
  #closed(planned: readonly Planned[]): void {
    const live = planned.filter(({ stored }) => stored.object.facts.destroyed === undefined);
    const refused = live.length > 0 ? live : planned;
    for (const { pending } of refused) this.#settle(pending, { result: "refused" });
  }

  /** What was not read is read now: the next pass sees who was faster, or who holds the record. */
  async #refused(
    planned: readonly Planned[],
    {
      kind,
      uniqueIdentifier,
    }: { readonly kind: "conflict" | "reserved"; readonly uniqueIdentifier: string },
  ): Promise<readonly Pending[]> {
    const refused = planned.find(
      ({ stored }) => stored.object.uniqueIdentifier === uniqueIdentifier,
    );
    if (this.#trusting || refused === undefined) return [];
    if (kind === "reserved") return [refused.pending];
    if (refused.change.kind === "create") await this.#foreign(refused.pending);
    return [];
  }

  /** A record that exists but cannot be read in this instance may be another instance's. */
  async #foreign(pending: Pending): Promise<void> {
    const { uniqueIdentifier } = pending.object;
    const found = await this.#own.records(partitionOf(this.#instance), [uniqueIdentifier]);
    const other = found.objects.find(({ instance }) => instance !== this.#instance);
    if (other === undefined) return;
    await this.#own.quarantine(this.#instance, uniqueIdentifier, "the instance differs", {
      copy: encodeRecord(pending.object),
    });
    this.#settle(pending, { result: "quarantined" });
  }

  #settle(pending: Pending, merged: Merged): void {
    this.#pending.delete(pending.id);
    for (const object of pending.given) this.#results.set(object, merged);
  }
}

/**
 * Whether the record shows no change since it was created; reading first would cost a new key a
 * round trip.
 */
function looksNew({ facts, registers }: ManagedObject): boolean {
  const { served, deactivated, compromised, destroyed } = facts;
  if (served ?? deactivated ?? compromised ?? destroyed) return false;
  const us = registers[0]?.stamp.us;
  return registers.every(({ stamp }) => stamp.us === us);
}
