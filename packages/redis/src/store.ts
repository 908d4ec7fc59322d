import type {
  AuditEvent,
  Change,
  ChangePage,
  ClockReading,
  CommitOutcome,
  FindQuery,
  InstanceStatus,
  InstanceStatuses,
  LeafPage,
  Levels,
  ManagedObject,
  OwnCommitOptions,
  OwnFindPage,
  OwnStore,
  OwnStoredObject,
  PeerCursor,
  RecordsAnswer,
  Recount,
  Reservation,
  ReserveOutcome,
  StateCounts,
  StoredObject,
  StorePosition,
  StoreState,
} from "@holdfast/engine";
import { RedisAuditLog } from "./audit/audit-log.ts";
import { AuditQueue } from "./audit/audit-queue.ts";
import { type RedisStoreOptions, type StoreSettings, storeSettings } from "./connection/options.ts";
import { readPairs } from "./connection/replies.ts";
import { loadScripts } from "./connection/scripts.ts";
import { readMemory, type StoreMemory } from "./connection/server-info.ts";
import { Changes } from "./objects/changes.ts";
import { RedisObjects } from "./objects/object-store.ts";
import { Quarantine } from "./objects/quarantine.ts";
import { Reservations } from "./objects/reservations.ts";
import { RedisStateCounts } from "./objects/state-counts.ts";
import { RedisStatuses } from "./records/instance-statuses.ts";
import { LeaderRecords } from "./records/leader-records.ts";
import { Formats, type RecordFormats } from "./session/formats.ts";
import type { LeaseRules } from "./session/lease.ts";
import { LeaseKeeper } from "./session/lease-keeper.ts";
import { SentinelWatch } from "./session/sentinels.ts";
import type { StoreContext } from "./session/tenure.ts";
import { Tenures } from "./session/tenures.ts";

/** A region's own store in Redis. Dispose it to close it: what is under way is waited for. */
export class RedisStore implements OwnStore, InstanceStatuses, AsyncDisposable {
  readonly #context: StoreContext;
  readonly #tenures: Tenures;
  readonly #objects: RedisObjects;
  readonly #statuses: RedisStatuses;
  readonly #reservations: Reservations;
  readonly #changes: Changes;
  readonly #leader: LeaderRecords;
  readonly #quarantine: Quarantine;
  readonly #queue: AuditQueue;
  /** The audit trail, for readers and for the leader. */
  readonly audit: RedisAuditLog;
  readonly #counts: RedisStateCounts;

  private constructor(context: StoreContext) {
    this.#context = context;
    this.#tenures = new Tenures(context);
    this.#objects = new RedisObjects(context, this.#tenures);
    this.#statuses = new RedisStatuses(context, this.#tenures);
    this.#reservations = new Reservations(context, this.#tenures);
    this.#changes = new Changes(context, this.#tenures);
    this.#leader = new LeaderRecords(context, this.#tenures);
    this.#quarantine = new Quarantine(context, this.#tenures);
    this.#queue = new AuditQueue(context, this.#tenures);
    this.audit = new RedisAuditLog(context, this.#tenures, this.#leader);
    this.#counts = new RedisStateCounts(context, this.#tenures);
  }

  /**
   * Connects, checks and waits a moment for the lease. Rejects with `StoreUnavailable` where Redis is unsafe, not
   * initialised or (without `openUnreachable`) not reached.
   */
  static async open(options: RedisStoreOptions): Promise<RedisStore> {
    const settings = storeSettings(options);
    const scripts = loadScripts();
    const { clock, observe } = settings;
    const lease = new LeaseKeeper(rulesOf(settings), clock, observe);
    const sentinels = settings.sentinels && watch(settings, lease);
    const formats = new Formats(settings);
    const time = { last: undefined };
    const store = new RedisStore({ settings, scripts, lease, observe, sentinels, formats, time });
    try {
      await store.#tenures.start();
      return store;
    } catch (error) {
      await store[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What the lease allows at this moment; each change is an event of type `lease`. */
  state(): StoreState {
    return this.#context.lease.state();
  }

  get storeId(): string | undefined {
    return this.#tenures.storeId;
  }

  /** Memory of the primary now; undefined where it does not say. Asks Redis: not for every request. */
  async memory(): Promise<StoreMemory | undefined> {
    const tenure = this.#tenures.now("read") ?? (await this.#tenures.require("read"));
    const info = await tenure.reader?.connection.call("info", "memory");
    return info === undefined ? undefined : readMemory(String(info));
  }

  /** Whether this node's Redis user may read the password of replication, with which one replaces a replica. */
  async showsReplicationPassword(): Promise<boolean> {
    const tenure = this.#tenures.now("read") ?? (await this.#tenures.require("read"));
    const asked = await tenure.reader?.connection.batch([["config", "GET", "masterauth"]]);
    const outcome = asked?.[0];
    if (outcome === undefined || "error" in outcome) return false;
    return (readPairs(outcome.value).get("masterauth") ?? "") !== "";
  }

  onState(listener: (state: StoreState, reason: string) => void): () => void {
    return this.#context.lease.onState(listener);
  }

  read(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (OwnStoredObject | undefined)[]> {
    return this.#objects.read(instance, ids);
  }

  commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    options?: OwnCommitOptions,
  ): Promise<CommitOutcome> {
    return this.#objects.commit(instance, changes, audit, options);
  }

  markServed(instance: string, before: StoredObject, after: ManagedObject): Promise<boolean> {
    return this.#objects.markServed(instance, before, after);
  }

  find(instance: string, query: FindQuery): Promise<OwnFindPage> {
    return this.#objects.find(instance, query);
  }

  appendAudit(instance: string, events: readonly AuditEvent[], strict: boolean): Promise<void> {
    return this.#queue.append(instance, events, strict);
  }

  reserve(...given: Parameters<OwnStore["reserve"]>): Promise<ReserveOutcome> {
    return this.#reservations.reserve(...given);
  }

  async release(instance: string, operation: string, epoch?: number): Promise<number> {
    if (epoch !== undefined) this.#leader.assertEpoch(epoch);
    return this.#reservations.release(instance, operation, epoch);
  }

  reservations(): Promise<readonly Reservation[]> {
    return this.#reservations.all();
  }

  position(): Promise<StorePosition> {
    return this.#changes.position();
  }

  changes(partition: number, after: number, limit: number, bytesMax: number): Promise<ChangePage> {
    return this.#changes.changes(partition, after, limit, bytesMax);
  }

  digests(partition: number): Promise<Uint8Array> {
    return this.#changes.digests(partition);
  }

  leaves(partition: number, mask: Uint8Array, after: number | undefined): Promise<LeafPage> {
    return this.#changes.leaves(partition, mask, after);
  }

  records(partition: number, ids: readonly string[]): Promise<RecordsAnswer> {
    return this.#changes.records(partition, ids);
  }

  cursor(partition: number, peer: string): Promise<PeerCursor | undefined> {
    return this.#leader.cursor(partition, peer);
  }

  setCursor(partition: number, peer: string, cursor: PeerCursor, epoch: number): Promise<void> {
    return this.#leader.setCursor(partition, peer, cursor, epoch);
  }

  askLevel(): Promise<number> {
    return this.#leader.askLevel();
  }

  loseLevel(): Promise<void> {
    return this.#leader.loseLevel();
  }

  levels(): Promise<Levels> {
    return this.#leader.levels();
  }

  setLevel(reached: number, epoch: number): Promise<void> {
    return this.#leader.setLevel(reached, epoch);
  }

  newEpoch(): Promise<number> {
    return this.#leader.newEpoch();
  }

  /** Which formats of records the region's nodes read, as was last heard; undefined before the store was reached. */
  formats(): RecordFormats | undefined {
    return this.#context.formats.known;
  }

  /** What the clock of Redis showed when it was last heard. */
  clockReading(): ClockReading | undefined {
    return this.#context.time.last;
  }

  /** Requires a format of every node. False where one that was heard lately does not read it; rejects as other writes. */
  requireFormat(format: number, epoch: number): Promise<boolean> {
    return this.#leader.requireFormat(format, epoch);
  }

  quarantine(
    instance: string,
    uniqueIdentifier: string,
    reason: string,
    options: { readonly copy?: Uint8Array; readonly replacement?: ManagedObject },
  ): Promise<void> {
    return this.#quarantine.put(instance, uniqueIdentifier, reason, options);
  }

  counts(instance: string): Promise<StateCounts | undefined> {
    return this.#counts.of(instance);
  }

  countsIn(partition: number): Promise<ReadonlyMap<string, StateCounts> | undefined> {
    return this.#counts.in(partition);
  }

  recount(partition: number): Promise<Recount> {
    return this.#counts.recount(partition);
  }

  quarantined(): Promise<number> {
    return this.#quarantine.count();
  }

  install(instance: string): Promise<InstanceStatus> {
    return this.#statuses.install(instance);
  }

  move(
    instance: string,
    from: readonly (InstanceStatus | undefined)[],
    to: InstanceStatus,
  ): Promise<InstanceStatus | undefined> {
    return this.#statuses.move(instance, from, to);
  }

  status(instance: string): Promise<InstanceStatus | undefined> {
    return this.#statuses.status(instance);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.drain();
    await this.#tenures[Symbol.asyncDispose]();
    await this.#context.sentinels?.[Symbol.asyncDispose]();
    this.#context.lease.dispose();
  }
}

function rulesOf(settings: StoreSettings): LeaseRules {
  const { sentinels, externalFailover, storeLeaseMs } = settings;
  if (sentinels !== undefined) {
    return { storeLeaseMs, promotion: "sentinels", sentinels: sentinels.length };
  }
  return { storeLeaseMs, promotion: externalFailover ? "unknown" : "nobody", sentinels: 0 };
}

function watch(settings: StoreSettings, lease: LeaseKeeper): SentinelWatch {
  return new SentinelWatch(
    settings,
    settings.storeLeaseMs / 10,
    () => lease.now(),
    (sentinel, hearing) => lease.apply({ type: "heard", sentinel, hearing }),
  );
}
