import {
  type ClockReading,
  type Ids,
  type InstanceStatuses,
  type OwnStore,
  RootOfTrustError,
} from "@holdfast/engine";
import { RedisAuditLog } from "./audit/audit-log.ts";
import { AuditQueue } from "./audit/audit-queue.ts";
import { type RedisStoreOptions, type StoreSettings, storeSettings } from "./connection/options.ts";
import { readPairs } from "./connection/replies.ts";
import { loadScripts } from "./connection/scripts.ts";
import { readUsage, type StoreUsage } from "./connection/server-info.ts";
import { type MemorySurvey, OlderRecords } from "./memory/older.ts";
import { StoreMemory } from "./memory/store-memory.ts";
import { Changes } from "./objects/changes.ts";
import { RedisObjects } from "./objects/object-store.ts";
import { Quarantine } from "./objects/quarantine.ts";
import { Reservations } from "./objects/reservations.ts";
import { RedisStateCounts } from "./objects/state-counts.ts";
import { StoredRecords } from "./proof/stored-records.ts";
import { StoredValues } from "./proof/stored-values.ts";
import { RedisStatuses } from "./records/instance-statuses.ts";
import {
  KeyRotation,
  type RotationProgress,
  type StorageKeyState,
} from "./records/key-rotation.ts";
import {
  type KeyWrapper,
  KeyWraps,
  type RewrappedKeys,
  type SeenStorageKeys,
} from "./records/key-wraps.ts";
import { LeaderRecords } from "./records/leader-records.ts";
import { LocalValues } from "./records/local-values.ts";
import { Trust } from "./records/trust.ts";
import { Formats, type RecordFormats } from "./session/formats.ts";
import type { LeaseRules } from "./session/lease.ts";
import { LeaseKeeper } from "./session/lease-keeper.ts";
import type { StoreContext } from "./session/primary-session.ts";
import { PrimarySessions } from "./session/primary-sessions.ts";
import { SentinelWatch } from "./session/sentinels.ts";
import { HeldKeys, NoKeys } from "./storage-keys/held-keys.ts";

/**
 * A region's own store in Redis. Disposing closes it, after what is under way has ended or a
 * bounded time.
 */
export interface RedisStore extends OwnStore, InstanceStatuses, AsyncDisposable {
  /** The audit trail, for readers and for the leader. */
  readonly audit: RedisAuditLog;
  /**
   * Memory and disk use of the primary now; undefined where Redis does not say. Asks Redis, so do
   * not call it for every request.
   */
  usage(): Promise<StoreUsage | undefined>;
  /**
   * Whether this node's Redis user may read the replication password, with which one can take the
   * place of a replica.
   */
  showsReplicationPassword(): Promise<boolean>;
  /**
   * Which formats of records the region's nodes read, as last heard; undefined before the store was
   * reached.
   */
  formats(): RecordFormats | undefined;
  /** Values in Redis that last did not prove themselves to this node, as `key field`. */
  unprovenValues(): readonly string[];
  /** What the clock of Redis showed when it was last heard. */
  clockReading(): ClockReading | undefined;
  /**
   * Requires a format of every node. False where a recently heard node does not read it; rejects
   * like other writes.
   */
  requireFormat(format: number, epoch: number): Promise<boolean>;
  /**
   * Wraps the store's keys under the current version of this root of trust, and puts entries back that are missing or
   * damaged; rejects like other writes.
   */
  rewrapStorageKeys(root: KeyWrapper): Promise<RewrappedKeys>;
  /**
   * The present wraps of the store's keys, which this node keeps from then on; a new one is opened once. Also what is
   * missing or damaged there. Rejects like other reads, or with what the root of trust says of a new wrap.
   */
  storageKeyWraps(): Promise<SeenStorageKeys>;
  /** Which of the store's keys count. Rejects like other reads. */
  storageKeyState(): Promise<StorageKeyState>;
  /**
   * Makes a new storage key, which this root of trust wraps, and begins the rotation to it; undefined if one is under way.
   * Rejects like other writes, and with `keyClosed` where the root of trust does not wrap it.
   */
  rotateStorageKey(root: KeyWrapper, randomBytes: Ids["randomBytes"]): Promise<number | undefined>;
  /** Continues a rotation, for the leader, until there is nothing to do now, or `active` ends it. Rejects like other writes. */
  continueRotation(active: () => boolean): Promise<RotationProgress>;
  /** A named value of this region's nodes; empty if there is none. It proves itself to its readers, or is not believed. */
  localValue(name: string): Promise<string>;
  /** Replaces such a value if it is still the one that was read; false if it is not. */
  setLocalValue(name: string, read: string, value: string): Promise<boolean>;
  /** Compares everything that this node remembers, or one record, with the store; rejects like other reads. */
  surveyMemory(record?: string): Promise<MemorySurvey>;
  /**
   * An operator's order to every node of the region, also to those that start later: what is genuine in the store counts,
   * and their memories of it, or of one record, begin anew. Rejects like other writes.
   */
  accept(record?: string): Promise<void>;
}

/**
 * Connects, checks, opens the store's keys and waits a moment for the lease. Rejects with `StoreUnavailable` where Redis
 * is unsafe, not initialised or, without `openUnreachable`, where Redis or the root of trust does not answer.
 */
export function openRedisStore(options: RedisStoreOptions): Promise<RedisStore> {
  const settings = storeSettings(options);
  const values = new StoredValues(settings.observe);
  return opened(settings, new HeldKeys(settings, settings.observe), values);
}

/** A store's audit trail, for readers. */
export type RedisTrail = Pick<RedisStore, "storeId" | "audit"> & AsyncDisposable;

/**
 * Opens a store's audit trail alone, as `openRedisStore` does, and verifies no MAC of it: so it can be read although no root
 * of trust opens the store's keys.
 */
export async function openRedisTrail({
  ids,
  ...options
}: Omit<RedisStoreOptions, "root"> & {
  readonly ids: Pick<Ids, "randomBytes">;
}): Promise<RedisTrail> {
  const closed = () => Promise.reject(new RootOfTrustError("unavailable", "it is not used"));
  const settings = storeSettings({ ...options, root: { describe: closed, unwrap: closed } });
  const values = new StoredValues(settings.observe, true);
  return await opened(settings, new NoKeys(settings, ids), values);
}

async function opened(
  settings: StoreSettings,
  keys: HeldKeys,
  values: StoredValues,
): Promise<RedisStore> {
  const scripts = loadScripts();
  const { clock, observe, timers } = settings;
  const lease = new LeaseKeeper(rulesOf(settings), clock, observe, timers);
  const sentinels = settings.sentinels && watch(settings, lease);
  const formats = new Formats(settings, values);
  const time = { last: undefined };
  const records = new StoredRecords();
  const now = () => clock.monotonicMs();
  const { region } = settings;
  const memory =
    settings.memory && new StoreMemory(settings.memory, { region, observe, timers, now });
  const older = new OlderRecords(memory, observe, now);
  const holding = { keys, records, values, memory, older };
  const context = { settings, scripts, lease, observe, sentinels, formats, time, ...holding };
  const sessions = new PrimarySessions(context);
  const store = storeOf(context, sessions);
  try {
    await sessions.start();
    return store;
  } catch (error) {
    await store[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Puts the parts together. Each part implements some of the port's methods, as own properties, so
 * that they can be spread.
 */
function storeOf(context: StoreContext, sessions: PrimarySessions): RedisStore {
  const { lease, sentinels } = context;
  const leader = new LeaderRecords(context, sessions);
  const queue = new AuditQueue(context, sessions);
  const reading = async () => sessions.now("read") ?? (await sessions.require("read"));
  return {
    ...new RedisObjects(context, sessions),
    ...new RedisStatuses(context, sessions),
    ...new Reservations(context, sessions, leader),
    ...new Changes(context, sessions),
    ...leader,
    ...new KeyWraps(context, sessions),
    ...new KeyRotation(context, sessions),
    ...new LocalValues(context, sessions),
    ...new Trust(context, sessions),
    ...new Quarantine(context, sessions),
    ...new RedisStateCounts(context, sessions),
    ...queue,
    audit: new RedisAuditLog(context, sessions, leader),
    state: () => lease.state(),
    onState: (listener) => lease.onState(listener),
    get storeId() {
      return sessions.storeId;
    },
    formats: () => context.formats.known,
    unprovenValues: context.values.unprovenValues,
    clockReading: () => context.time.last,
    usage: async () => {
      const { reader } = await reading();
      const info = await reader?.connection.call("info", "memory", "persistence");
      return info === undefined ? undefined : readUsage(String(info));
    },
    showsReplicationPassword: async () => {
      const { reader } = await reading();
      const asked = await reader?.connection.batch([["config", "GET", "masterauth"]]);
      const outcome = asked?.[0];
      if (outcome === undefined || "error" in outcome) return false;
      return (readPairs(outcome.value).get("masterauth") ?? "") !== "";
    },
    [Symbol.asyncDispose]: async () => {
      await queue.drain();
      await sessions[Symbol.asyncDispose]();
      await context.memory?.close();
      await sentinels?.[Symbol.asyncDispose]();
      lease.dispose();
    },
  };
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
