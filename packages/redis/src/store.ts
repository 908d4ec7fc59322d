import type {
  AuditEvent,
  Change,
  CommitOutcome,
  FindPage,
  FindQuery,
  InstanceStatus,
  InstanceStore,
  KekStore,
  KekWrap,
  ManagedObject,
  ObjectStore,
  StoredObject,
  WrappedKek,
} from "@holdfast/engine";
import { AuditQueue } from "./audit-queue.ts";
import { RedisInstances } from "./instance-store.ts";
import { RedisKeks } from "./kek-store.ts";
import type { LeaseRules, LeaseState } from "./lease.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import { RedisObjects } from "./object-store.ts";
import { type RedisStoreOptions, type StoreSettings, storeSettings } from "./options.ts";
import { loadScripts } from "./scripts.ts";
import { SentinelWatch } from "./sentinels.ts";
import type { StoreContext } from "./tenure.ts";
import { Tenures } from "./tenures.ts";

/** A region's store in Redis. Dispose it to close it: what is under way is waited for. */
export class RedisStore implements ObjectStore, KekStore, InstanceStore, AsyncDisposable {
  readonly #context: StoreContext;
  readonly #tenures: Tenures;
  readonly #objects: RedisObjects;
  readonly #keks: RedisKeks;
  readonly #instances: RedisInstances;
  readonly #audit: AuditQueue;

  private constructor(context: StoreContext) {
    this.#context = context;
    this.#tenures = new Tenures(context);
    this.#objects = new RedisObjects(context, this.#tenures);
    this.#keks = new RedisKeks(context, this.#tenures);
    this.#instances = new RedisInstances(context, this.#tenures);
    this.#audit = new AuditQueue(context, this.#tenures);
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
    const store = new RedisStore({ settings, scripts, lease, observe, sentinels });
    try {
      await store.#tenures.start();
      return store;
    } catch (error) {
      await store[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What the lease allows at this moment; each change is an event of type `lease`. */
  state(): LeaseState {
    return this.#context.lease.state();
  }

  /** The store's id, once it was reached. */
  get storeId(): string | undefined {
    return this.#tenures.now("read")?.storeId;
  }

  read(instance: string, ids: readonly string[]): Promise<readonly (StoredObject | undefined)[]> {
    return this.#objects.read(instance, ids);
  }

  commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
  ): Promise<CommitOutcome> {
    return this.#objects.commit(instance, changes, audit);
  }

  markServed(instance: string, before: StoredObject, after: ManagedObject): Promise<boolean> {
    return this.#objects.markServed(instance, before, after);
  }

  find(instance: string, query: FindQuery): Promise<FindPage> {
    return this.#objects.find(instance, query);
  }

  appendAudit(instance: string, events: readonly AuditEvent[], strict: boolean): Promise<void> {
    return this.#audit.append(instance, events, strict);
  }

  list(instance: string): Promise<readonly WrappedKek[]> {
    return this.#keks.list(instance);
  }

  add(instance: string, kek: WrappedKek, onlyIfNone: boolean): Promise<boolean> {
    return this.#keks.add(instance, kek, onlyIfNone);
  }

  rewrap(
    instance: string,
    kekId: string,
    expected: Uint8Array,
    replacement: KekWrap,
  ): Promise<boolean> {
    return this.#keks.rewrap(instance, kekId, expected, replacement);
  }

  ensure(instance: string, name: string): Promise<InstanceStatus> {
    return this.#instances.ensure(instance, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#audit.drain();
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
