import type { AuditEvent } from "../../audit/audit-event.ts";
import { StoreUnavailable } from "../../base/errors.ts";
import { digestsOf, inMask } from "../../ports/digest.ts";
import { instanceTakes } from "../../ports/instance-takes.ts";
import type { Change, CommitOutcome, StoredObject } from "../../ports/objects.ts";
import type {
  ChangePage,
  InstanceCounts,
  LeafPage,
  Levels,
  OwnCommitOptions,
  OwnFindPage,
  OwnFindQuery,
  OwnStore,
  OwnStoredObject,
  PeerCursor,
  RecordsAnswer,
  Recount,
  Reservation,
  ReserveOutcome,
  StateCounts,
  StorePosition,
  StoreState,
} from "../../ports/own-store.ts";
import { stateCounts } from "../../ports/state-counts.ts";
import type { ManagedObject } from "../../record/record.ts";
import { tagOf } from "../../record/record-codec.ts";
import { partitionOf, systemInstance } from "../../system/partition.ts";
import { MemoryAudit } from "./memory-audit.ts";
import { MemoryInstanceStore } from "./memory-instance-store.ts";
import { MemoryJournal } from "./memory-journal.ts";
import {
  damagedRow,
  emptyPartitions,
  FoundRows,
  isBroken,
  isDamaged,
  isForeign,
  type MemoryPartition,
  type MemoryRow,
  newerRow,
  type Refusal,
  storedIn,
} from "./memory-partition.ts";

/** Options of a store in memory; by default everything that it writes is covered at once. */
export interface MemoryOwnStoreOptions {
  readonly instances?: MemoryInstanceStore;
  readonly storeId?: string;
  readonly replicationId?: string;
  /** The clock by which reservations begin. */
  readonly wallMs?: () => number;
  /** Audit entries kept in a partition, about; 1,000,000 unless given. */
  readonly auditEntriesMax?: number;
  /** Waits until what was written is durable; rejects with `StoreUnavailable` if that is not known. */
  readonly barrier?: () => Promise<void>;
}

const leavesPerPage = 1_000;
const recordsMax = 1_000;

/**
 * A region's own store in memory, for tests and as the model of the real one: deterministic, without timers, and it can
 * lose its lease, fail over and be emptied.
 */
export class MemoryOwnStore implements OwnStore {
  readonly instances: MemoryInstanceStore;
  readonly audit: MemoryAudit;
  readonly #wallMs: () => number;
  readonly #wait: (() => Promise<void>) | undefined;
  readonly #listeners = new Set<(state: StoreState, reason: string) => void>();
  #journal = new MemoryJournal();
  #partitions: readonly MemoryPartition[];
  #quarantine = new Map<string, Uint8Array>();
  #counters = new Map<"epoch" | keyof Levels, number>();
  #storeId: string;
  #replicationId: string;
  #state: StoreState = "full";
  /** A test replaces them. */
  doubted = (): boolean => false;
  accepted = (): number => 0;
  remembers = (..._: readonly unknown[]): boolean => true;
  /** Grows with every fail-over: what was under way then is not promised. */
  #era = 0;

  constructor(options: MemoryOwnStoreOptions = {}) {
    this.instances = options.instances ?? new MemoryInstanceStore();
    this.#storeId = options.storeId ?? "memory";
    this.#replicationId = options.replicationId ?? "memory";
    this.#wallMs = options.wallMs ?? (() => 0);
    this.#wait = options.barrier;
    this.#partitions = emptyPartitions(this.#journal);
    const host = () => ({
      storeId: this.#storeId,
      journal: this.#journal,
      demand: (need: "read" | "write") => this.#require(need),
      fence: (epoch: number) => this.#fence(epoch),
      barrier: () => this.#barrier(),
    });
    this.audit = new MemoryAudit(host, options.auditEntriesMax ?? 1_000_000);
  }

  /** Sets what its lease allows. */
  setState(state: StoreState, reason = "set"): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of this.#listeners) listener(state, reason);
  }

  /** Another process continues with the data, or with the covered part of them. */
  failOver(replicationId: string, { lossy = false }: { readonly lossy?: boolean } = {}): void {
    this.#era += 1;
    this.#replicationId = replicationId;
    if (lossy) this.#journal.takeBack();
    else this.#journal.forget(this.#journal.position);
    for (const partition of this.#partitions) partition.covered = partition.number("change");
  }

  /** Deletes its data and initialises it again. */
  empty(storeId: string, replicationId: string): void {
    this.#era += 1;
    this.#storeId = storeId;
    this.#replicationId = replicationId;
    this.#journal = new MemoryJournal();
    this.#partitions = emptyPartitions(this.#journal);
    this.#quarantine = new Map();
    this.#counters = new Map();
    this.audit.empty();
    this.instances.clear();
  }

  /** Damages a record so that it does not decode; with `newer`, makes it an intact one of the next format. */
  damage(uniqueIdentifier: string, newer = false): void {
    for (const { rows } of this.#partitions) {
      const row = rows.get(uniqueIdentifier);
      if (row) rows.set(uniqueIdentifier, newer ? newerRow(row) : damagedRow(row));
    }
  }

  /** Everything appended so far, oldest first. */
  auditOf(instance: string): readonly AuditEvent[] {
    return this.audit.of(instance);
  }

  // ObjectStore.

  state(): StoreState {
    return this.#state;
  }

  get storeId(): string | undefined {
    return this.#storeId;
  }

  onState(listener: (state: StoreState, reason: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async read(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (OwnStoredObject | undefined)[]> {
    this.#require("read");
    const partition = this.#partition(instance);
    const rows = ids.map((id) => {
      const row = partition.rows.get(id);
      return row?.instance === instance ? row : undefined;
    });
    const objects = rows.map((row, at) => row && this.#owned(partition, ids[at] ?? "", row));
    await this.#cover(partition, Math.max(0, ...rows.map((row) => row?.promised ?? 0)));
    return objects;
  }

  async commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    options: OwnCommitOptions = {},
  ): Promise<CommitOutcome> {
    this.#require("write");
    const foreign = changes.find((change) => isForeign(instance, change));
    if (foreign !== undefined) {
      return { kind: "conflict", uniqueIdentifier: foreign.after.uniqueIdentifier };
    }
    this.#partition(systemInstance).requireGiven(options.given);
    const partition = this.#partition(instance);
    const refusal =
      this.#closed(instance, options, changes) ?? partition.refusal(instance, changes, options);
    if (refusal !== undefined) {
      await this.#barrier();
      return refusal;
    }
    for (const change of changes) partition.write(change.after, true);
    if (options.operation !== undefined) partition.release(instance, options.operation);
    this.audit.append(instance, audit);
    options.written?.();
    await this.#barrier();
    return { kind: "committed" };
  }

  async markServed(instance: string, before: StoredObject, after: ManagedObject): Promise<boolean> {
    if (this.#state !== "full") return false;
    const change = { kind: "update", before, after } as const;
    const partition = this.#partition(instance);
    if (isForeign(instance, change) || this.#closed(instance, {}, []) !== undefined) return false;
    if (partition.refusal(instance, [change], {}) !== undefined) return false;
    partition.write(after, false);
    return true;
  }

  async find(instance: string, query: OwnFindQuery): Promise<OwnFindPage> {
    this.#require("read");
    const partition = this.#partition(instance);
    const { page, next } = partition.found(instance, query);
    const ids = query.listDamaged === true ? page.filter(isBroken).map(([id]) => id) : [];
    const whole = page.filter(([id]) => !ids.includes(id));
    const objects = whole.map(([id, row]) => this.#owned(partition, id, row));
    await this.#cover(partition, partition.number("promised"));
    const damaged = ids.length > 0 && { damaged: { ids, byTerm: query.term !== undefined } };
    return { objects, ...damaged, ...next };
  }

  async appendAudit(instance: string, events: readonly AuditEvent[]): Promise<void> {
    this.audit.append(instance, events);
  }

  // Reservations.

  async reserve(...all: Parameters<OwnStore["reserve"]>): Promise<ReserveOutcome> {
    const [instance, ids, operation, given] = all;
    this.#require("write");
    this.#partition(systemInstance).requireGiven(given);
    const partition = this.#partition(instance);
    for (const uniqueIdentifier of ids) {
      const hold = partition.holds.get(uniqueIdentifier);
      if (hold === undefined || hold.operation === operation) continue;
      await this.#barrier();
      return { kind: "held", uniqueIdentifier, operation: hold.operation };
    }
    partition.hold(ids, { operation, instance, sinceMs: this.#wallMs() });
    await this.#barrier();
    return { kind: "reserved" };
  }

  async release(instance: string, operation: string, epoch?: number): Promise<number> {
    this.#require("write");
    if (epoch !== undefined) this.#fence(epoch);
    const count = this.#partition(instance).release(instance, operation);
    await this.#barrier();
    return count;
  }

  async reservations(): Promise<readonly Reservation[]> {
    this.#require("read");
    const found = new Map<string, Reservation & { readonly ids: string[] }>();
    for (const { holds } of this.#partitions) {
      for (const [id, { operation, instance, sinceMs }] of holds) {
        const key = `${operation}\0${instance}`;
        const known = found.get(key) ?? { operation, instance, ids: [], sinceMs };
        known.ids.push(id);
        found.set(key, known);
      }
    }
    const all = [...found.values()];
    await this.#barrier();
    return all;
  }

  // What another region pulls.

  async position(): Promise<StorePosition> {
    this.#require("read");
    const numbers = this.#partitions.map((partition) => partition.number("change"));
    const { replicationId } = this.#names();
    if (numbers.some((number, at) => number > this.#at(at).covered)) await this.#barrier();
    return { replicationId, numbers };
  }

  async changes(
    partition: number,
    after: number,
    limit: number,
    bytesMax: number,
  ): Promise<ChangePage> {
    this.#require("read");
    const held = this.#at(partition);
    const { replicationId } = this.#names();
    const found = new FoundRows();
    const entries = held.changedAfter(after);
    let [taken, bytes, upTo] = [0, 0, after];
    for (const [id, row] of entries) {
      if (taken > 0 && (taken >= limit || bytes >= bytesMax)) break;
      found.add(id, row);
      taken += 1;
      bytes += row.bytes.length;
      upTo = row.changed;
    }
    const last = held.number("change");
    if (taken === entries.length) upTo = Math.max(after, last);
    await this.#cover(held, upTo);
    return { replicationId, ...found, upTo, last };
  }

  async digests(partition: number): Promise<Uint8Array> {
    this.#require("read");
    const held = this.#at(partition);
    const leaves = [...held.rows].map(([uniqueIdentifier, { tag }]) => ({ uniqueIdentifier, tag }));
    const digests = digestsOf(leaves);
    await this.#cover(held, held.number("change"));
    return digests;
  }

  async leaves(partition: number, mask: Uint8Array, after: number | undefined): Promise<LeafPage> {
    this.#require("read");
    const held = this.#at(partition);
    const { replicationId } = this.#names();
    const rows = held.changedAfter(after ?? 0).filter(([id]) => inMask(mask, id));
    const page = rows.slice(0, leavesPerPage);
    const leaves = page.map(([uniqueIdentifier, { tag }]) => ({ uniqueIdentifier, tag }));
    const [, last] = page.at(-1) ?? [];
    await this.#cover(held, last?.changed ?? 0);
    const more = last !== undefined && rows.length > page.length;
    return more ? { replicationId, leaves, next: last.changed } : { replicationId, leaves };
  }

  async records(partition: number, ids: readonly string[]): Promise<RecordsAnswer> {
    if (ids.length > recordsMax) throw new RangeError(`at most ${recordsMax} identifiers`);
    this.#require("read");
    const held = this.#at(partition);
    const found = new FoundRows();
    let number = 0;
    for (const id of ids) {
      const row = held.rows.get(id);
      if (row === undefined) continue;
      found.add(id, row);
      number = Math.max(number, row.changed);
    }
    await this.#cover(held, number);
    return { ...found };
  }

  async counts(instance: string): Promise<StateCounts> {
    return (await this.countsIn(partitionOf(instance))).get(instance)?.states ?? stateCounts();
  }

  async countsIn(partition: number): Promise<ReadonlyMap<string, InstanceCounts>> {
    this.#require("read");
    const counts = this.#at(partition).counts();
    await this.#cover(this.#at(partition), this.#at(partition).number("promised"));
    return counts;
  }

  async recount(): Promise<Recount> {
    return { done: 0, left: 0, wrong: 0 };
  }

  // What the leader keeps.
  async cursor(partition: number, peer: string): Promise<PeerCursor | undefined> {
    this.#require("read");
    const cursor = this.#at(partition).cursors.get(peer);
    await this.#barrier();
    return cursor;
  }

  async setCursor(
    partition: number,
    peer: string,
    cursor: PeerCursor,
    epoch: number,
  ): Promise<void> {
    this.#require("write");
    this.#fence(epoch);
    const { replicationId, number } = cursor;
    this.#journal.set(this.#at(partition).cursors, peer, { replicationId, number });
    await this.#barrier();
  }

  async requestResync(): Promise<number> {
    this.#require("write");
    const asked = this.#counter("asked") + 1;
    this.#journal.set(this.#counters, "asked", asked);
    await this.#barrier();
    return asked;
  }

  async loseLevel(): Promise<void> {
    this.#require("write");
    this.#journal.set(this.#counters, "lost", this.#counter("asked") + 1);
    await this.requestResync();
  }

  async levels(): Promise<Levels> {
    this.#require("read");
    const count = (name: keyof Levels) => this.#counter(name);
    const levels = { asked: count("asked"), reached: count("reached"), lost: count("lost") };
    await this.#barrier();
    return levels;
  }

  async setLevel(reached: number, epoch: number): Promise<void> {
    this.#require("write");
    this.#fence(epoch);
    this.#journal.set(this.#counters, "reached", Math.max(reached, this.#counter("reached")));
    await this.#barrier();
  }

  async newEpoch(): Promise<number> {
    this.#require("write");
    const epoch = this.#counter("epoch") + 1;
    this.#journal.set(this.#counters, "epoch", epoch);
    await this.#barrier();
    return epoch;
  }

  async quarantine(
    instance: string,
    uniqueIdentifier: string,
    _reason: string,
    { copy, replacement }: Parameters<OwnStore["quarantine"]>[3],
  ): Promise<void> {
    this.#require("write");
    const partition = this.#partition(instance);
    const row = partition.rows.get(uniqueIdentifier);
    const bytes = copy ?? row?.bytes ?? new Uint8Array();
    const name = `${uniqueIdentifier} ${copy === undefined ? "own" : "copy"} ${tagOf(bytes)}`;
    const isWhole = row !== undefined && !isDamaged(row, replacement);
    if (copy !== undefined || !isWhole) this.#journal.set(this.#quarantine, name, bytes);
    if (replacement !== undefined && !isWhole) {
      // Under another tag than any record has, so that the replacement is written with any tag.
      if (row !== undefined) partition.rows.set(uniqueIdentifier, { ...row, tag: "" });
      partition.write(replacement, true);
    }
    await this.#barrier();
  }

  async quarantined(): Promise<number> {
    this.#require("read");
    return this.#quarantine.size;
  }

  #names() {
    return { replicationId: `${this.#storeId} ${this.#replicationId}` };
  }

  #partition(instance: string): MemoryPartition {
    return this.#at(partitionOf(instance));
  }

  #at(partition: number): MemoryPartition {
    const found = this.#partitions[partition];
    if (found === undefined) throw new RangeError(`partition ${partition} does not exist`);
    return found;
  }

  #owned(partition: MemoryPartition, id: string, row: MemoryRow): OwnStoredObject {
    const hold = partition.holds.get(id);
    return hold === undefined ? storedIn(row) : { ...storedIn(row), reserved: hold.operation };
  }

  #closed(instance: string, ...given: [OwnCommitOptions, readonly Change[]]): Refusal {
    const takes = (): boolean => instanceTakes(this.instances.statusOf(instance), ...given);
    return instance === systemInstance || takes() ? undefined : { kind: "instanceClosed" };
  }

  #counter(name: "epoch" | keyof Levels): number {
    return this.#counters.get(name) ?? 0;
  }

  #fence(epoch: number): void {
    const highest = this.#counter("epoch");
    const message = `epoch ${epoch} is over: the store has seen ${highest}`;
    if (epoch < highest) throw new StoreUnavailable("deposed", message);
    this.#journal.set(this.#counters, "epoch", epoch);
  }

  #require(need: "read" | "write"): void {
    if (this.#state === "full" || (this.#state === "readOnly" && need === "read")) return;
    throw new StoreUnavailable("noLease", `the store in memory is ${this.#state}`);
  }

  async #cover(partition: MemoryPartition, number: number): Promise<void> {
    if (number > partition.covered) await this.#barrier();
  }

  /** Resolves when everything written before is durable. */
  async #barrier(): Promise<void> {
    const { position } = this.#journal;
    const numbers = this.#partitions.map((partition) => partition.number("change"));
    const [era, partitions] = [this.#era, this.#partitions];
    await this.#wait?.();
    if (era !== this.#era) throw new StoreUnavailable("noLease", "the store failed over");
    this.#journal.forget(position);
    for (const [at, number] of numbers.entries()) {
      const partition = partitions[at];
      if (partition) partition.covered = Math.max(partition.covered, number);
    }
  }
}
