import { type ClockReading, type Observer, StoreUnavailable, sysPartition } from "@holdfast/engine";
import {
  answerOf,
  type CommandLine,
  type Connection,
  runScript,
} from "../connection/connection.ts";
import { storeFailure } from "../connection/failure.ts";
import { allPartitions, scratchKeys, sysKeys } from "../connection/keys.ts";
import type { StoreSettings } from "../connection/options.ts";
import { readPartitionHead } from "../connection/record-header.ts";
import { readPairs, readReply, readRole } from "../connection/replies.ts";
import type { Scripts } from "../connection/scripts.ts";
import { repeat, sleep } from "../connection/timers.ts";
import { type Asks, feedEveryMs, MemoryFeed, meetStore } from "../memory/memory-feed.ts";
import type { OlderRecords } from "../memory/older.ts";
import type { StoreMemory } from "../memory/store-memory.ts";
import type { StoredRecords } from "../proof/stored-records.ts";
import type { StoredValues } from "../proof/stored-values.ts";
import type { HeldKeys } from "../storage-keys/held-keys.ts";
import { keySteps, type StorageKeys } from "../storage-keys/storage-keys.ts";
import { claim } from "./claim.ts";
import { CoveredNumbers } from "./covered.ts";
import type { Formats } from "./formats.ts";
import { GroupCommit, notInitialised, otherStore } from "./group-commit.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import { Reader } from "./reader.ts";
import { ReplicaSet } from "./replica-set.ts";
import type { SentinelWatch } from "./sentinels.ts";
import { checkReplicas, checkSettings } from "./settings-check.ts";
import { checkSentinels, watchSettings } from "./settings-watch.ts";

/** What outlives a session. */
export interface StoreContext {
  readonly settings: StoreSettings;
  readonly scripts: Scripts;
  readonly lease: LeaseKeeper;
  readonly observe: Observer;
  readonly sentinels: SentinelWatch | undefined;
  readonly formats: Formats;
  readonly keys: HeldKeys;
  readonly records: StoredRecords;
  readonly values: StoredValues;
  /** What this node remembers of the store, where it has a file for that. */
  readonly memory: StoreMemory | undefined;
  readonly older: OlderRecords;
  /** What the clock of Redis showed with the last marker. */
  readonly time: { last: ClockReading | undefined };
}

/** How long opening waits for the check of replicas; a frozen one must not keep the store closed. */
const replicaCheckMs = 500;
/** A root of trust is not asked more often for a key. */
const openKeysAgainMs = 2_000;
const heads = allPartitions.map(({ head }) => head);

/** The time with one primary process: its connections, and what holds for that process only. */
export class PrimarySession {
  readonly runId: string;
  readonly address: string;
  readonly storeId: string;
  /** The opened keys of the store. */
  readonly storageKeys: StorageKeys;
  readonly covered = new CoveredNumbers();
  readonly replicas: ReplicaSet;
  readonly groupCommit: GroupCommit;
  /** Resolves when its primary is lost or deposed, or turns out to hold no store. */
  readonly ended: Promise<StoreUnavailable>;
  readonly #context: StoreContext;
  #reader: Reader | undefined;
  #openedKeysMs = Number.NEGATIVE_INFINITY;
  #over = false;

  private constructor(
    context: StoreContext,
    connection: Connection,
    number: number,
    storageKeys: StorageKeys,
    replicas: ReplicaSet,
  ) {
    const { settings, scripts, lease, observe } = context;
    this.#context = context;
    this.runId = connection.info.runId;
    this.address = connection.address;
    const { storeId } = storageKeys;
    this.storeId = storeId;
    this.storageKeys = storageKeys;
    this.replicas = replicas;
    const { runId, address, covered } = this;
    lease.apply({ type: "connected", holder: { connection: number, runId, address } });
    const onReplicas = (addresses: readonly string[]): void => this.#meet(addresses);
    const nudge = (): void => {
      this.reader?.existing([heads[sysPartition] ?? ""]).catch(() => undefined);
    };
    this.groupCommit = new GroupCommit(
      {
        connection,
        number,
        storeId,
        scripts,
        replicas,
        covered,
        lease,
        observe,
        onReplicas,
        nudge,
        checkFormat: (required, proof) =>
          context.formats.check(storageKeys, required, proof, address),
        meetKeys: (note) => {
          if (context.keys.meet(note)) void this.#openKeys();
        },
        followKeys: (note) => {
          if (context.keys.follow(note)) this.#rememberKeys();
        },
        timers: settings.timers,
        onTime: (wallMs) => {
          context.time.last = { of: "the store", wallMs, atMs: lease.now().monotonicMs };
        },
      },
      {
        markerMs: settings.markerMs,
        barrierTimeoutMs: settings.barrierTimeoutMs,
        sliceMs: settings.storeLeaseMs / 4,
      },
    );
    const { everyMs } = context.formats;
    const stopNoting = repeat(settings.timers, everyMs, () => this.#noteFormat());
    const stopFeeding = this.#feed();
    this.ended = this.groupCommit.ended.then((failure) => {
      this.#over = true;
      stopNoting();
      stopFeeding();
      this.#reader?.connection.destroy(failure.message);
      return failure;
    });
  }

  /**
   * Connects to the primary and checks it, its replicas and its marker, which must name store
   * `began` where that is given; rejects with `StoreUnavailable`.
   */
  static async open(
    context: StoreContext,
    number: number,
    began?: string,
  ): Promise<PrimarySession> {
    const { settings, sentinels } = context;
    const connection = await settings.connections.toPrimary(settings, "commit", number);
    try {
      const { address, info } = connection;
      if (info.role !== "master") {
        throw new StoreUnavailable("noLease", `Redis ${address} is a replica: give its primary`);
      }
      await checkSettings(connection, settings);
      const head = (await connection.call("get", heads[sysPartition] ?? "")) as Buffer | null;
      const storeId = readPartitionHead(head)?.storeId;
      if (began !== undefined && storeId !== began) throw otherStore(address, began, storeId);
      if (storeId === undefined) throw notInitialised(address);
      await rehearse(connection, context.scripts);
      await claim(connection, context.scripts, settings.region);
      const storageKeys = await context.keys.open(connection, storeId);
      const { memory, scripts, values } = context;
      await memory?.open(storeId, context.keys.opener);
      context.keys.refuseOlder(memory?.keys, address);
      const asks: Asks = (name, ...given) => runScript(connection, scripts[name], ...given);
      if (memory !== undefined) await meetStore(memory, asks, values, storageKeys);
      await context.formats.note(storageKeys, address, async (keys, args) =>
        readReply(await runScript(connection, context.scripts.formats, keys, args)),
      );
      const replicas = new ReplicaSet(address, settings.replicas);
      const version = String(await connection.call("get", sysKeys.replicasVersion));
      const known = readPairs(await connection.call("hgetall", sysKeys.replicas));
      replicas.load([...known.keys()], version);
      const connected = readRole(await connection.call("role")).replicas;
      replicas.see(connected);
      if (sentinels !== undefined) replicas.see(await membersOf(sentinels, settings));
      const checked = warnUnreachable(context, connected);
      await Promise.race([checked, sleep(settings.timers, replicaCheckMs, { background: true })]);
      const reading = await openReader(settings, info.runId, number);
      // From here on nothing is awaited: requests that the first barrier wakes must find the session in place.
      const session = new PrimarySession(context, connection, number, storageKeys, replicas);
      checked.catch((error: unknown) => session.end(storeFailure(error, address)));
      session.#use(reading);
      session.#note();
      session.#watch();
      return session;
    } catch (error) {
      connection.destroy("the store cannot be opened");
      throw error;
    }
  }

  /** The connection for reads; undefined while it is being replaced. */
  get reader(): Reader | undefined {
    return this.#reader?.connection.open === true ? this.#reader : undefined;
  }

  /**
   * Reads with the connection for reads, for which it waits a bounded time; if that one is lost
   * meanwhile, reads once more with the next one. Rejects with `StoreUnavailable`.
   */
  async reading<Answer>(work: (reader: Reader) => Promise<Answer>): Promise<Answer> {
    const reader = this.reader ?? (await this.#readerSoon());
    try {
      return await work(reader);
    } catch (error) {
      const lost = error instanceof StoreUnavailable && error.failure === "noLease";
      if (!lost || reader.connection.open || this.#over) throw error;
      return work(await this.#readerSoon());
    }
  }

  async #readerSoon(): Promise<Reader> {
    const { settings, lease } = this.#context;
    const deadline = lease.now().monotonicMs + settings.leaseWaitMs;
    for (;;) {
      const { reader } = this;
      if (reader !== undefined) return reader;
      if (this.#over || lease.now().monotonicMs > deadline) break;
      await sleep(settings.timers, 5);
    }
    throw new StoreUnavailable("noLease", `no connection for reads to Redis ${this.address}`);
  }

  /** Ends the session when a setting changes so that data could be lost. */
  #watch(): void {
    const { settings, sentinels } = this.#context;
    watchSettings({
      settings,
      sentinels,
      connection: () => this.reader?.connection,
      over: () => this.#over,
    }).catch((error: unknown) => this.end(storeFailure(error, this.address)));
  }

  /** Teaches the memory until the function that it returns is called. */
  #feed(): () => void {
    const { memory, older, settings } = this.#context;
    if (memory === undefined || memory.readOnly) return () => undefined;
    const feed = new MemoryFeed(memory, older, this.#context);
    return repeat(settings.timers, feedEveryMs, () => {
      feed.round(this).catch((cause: unknown) => {
        const message = "the memory could not learn what is new in the store";
        this.#context.observe({ type: "warning", message, cause });
      });
    });
  }

  /** Ends the session; waiting scripts fail with `failure`. */
  end(failure: StoreUnavailable): void {
    this.groupCommit.end(failure);
  }

  /** Takes a connection for reads; when it is lost, opens another. */
  #use(connection: Connection): void {
    const { lease, observe, settings } = this.#context;
    if (this.#over) {
      connection.destroy("the session is over");
      return;
    }
    this.#reader = new Reader(
      connection,
      heads,
      () => lease.now().monotonicMs,
      (durationMs) => observe({ type: "storeCommand", command: "read", durationMs }),
      settings.timers,
    );
    void connection.closed.then(() => this.#reopenReader());
  }

  async #reopenReader(): Promise<void> {
    const { settings } = this.#context;
    for (let attempt = 0; !this.#over; attempt++) {
      try {
        this.#use(await openReader(settings, this.runId, attempt));
        return;
      } catch {
        await sleep(settings.timers, 50);
      }
    }
  }

  /** Ends the session if a new replica would lose data. */
  #meet(connected: readonly string[]): void {
    this.#note();
    warnUnreachable(this.#context, connected).catch((error: unknown) => {
      this.end(storeFailure(error, this.address));
    });
  }

  /** Opens the keys of a rotation that the store shows, unless that is under way, or was tried a moment ago. */
  async #openKeys(): Promise<void> {
    const { keys, lease, observe } = this.#context;
    const nowMs = lease.now().monotonicMs;
    if (nowMs - this.#openedKeysMs < openKeysAgainMs) return;
    this.#openedKeysMs = nowMs;
    try {
      await this.reading(({ connection }) => keys.open(connection, this.storeId));
      this.#openedKeysMs = Number.NEGATIVE_INFINITY;
    } catch (cause) {
      if (!this.#over)
        observe({ type: "warning", message: "a new storage key could not be opened", cause });
    }
  }

  /** Tells the memory which keys count from now on, and the other nodes that this one follows. */
  #rememberKeys(): void {
    const { step, storeId } = this.storageKeys;
    const newest = this.#context.keys.of(storeId).get(keySteps.newest(step))?.key;
    if (newest !== undefined) this.#context.memory?.noteKeys({ step, check: newest.check });
    this.#noteFormat();
  }

  /** Notes which format this node reads, and hears which ones the others read. */
  #noteFormat(): void {
    const { scripts, formats, observe } = this.#context;
    const { groupCommit, storageKeys, address } = this;
    formats
      .note(storageKeys, address, (keys, args) =>
        groupCommit.submit(scripts.formats, sysPartition, keys, args, { localEnough: true }),
      )
      .catch((cause: unknown) => {
        if (this.#over) return;
        observe({ type: "warning", message: "the record formats could not be stored", cause });
      });
  }

  /** Notes new replicas in the store, so that every node and every later session waits for them. */
  #note(): void {
    const { scripts, lease, observe } = this.#context;
    const { fresh } = this.replicas;
    if (fresh.length === 0) return;
    const keys = [heads[sysPartition] ?? "", sysKeys.replicas, sysKeys.replicasVersion];
    const args = [String(Math.floor(lease.now().wallMs)), ...fresh];
    this.groupCommit
      .submit(scripts["remember-replica"], sysPartition, keys, args, { localEnough: true })
      .catch((cause: unknown) => {
        observe({ type: "warning", message: "a new replica could not be stored", cause });
      });
  }
}

/** Finds a missing permission before it stops a change midway. */
async function rehearse(connection: Connection, scripts: Scripts): Promise<void> {
  await runScript(connection, scripts.rehearse, scratchKeys, []);
  const [key] = scratchKeys;
  const lines: readonly CommandLine[] = [
    ["multi"],
    ["mget", key],
    ["exec"],
    ["exists", key],
    ["hmget", key, "a"],
    ["waitaof", "0", "0", "0"],
  ];
  for (const outcome of await connection.batch(lines)) answerOf(outcome, connection);
}

/** The addresses that Sentinels count as part of the store; refuses Sentinels that are not safe. */
async function membersOf(
  sentinels: SentinelWatch,
  settings: StoreSettings,
): Promise<readonly string[]> {
  const survey = await sentinels.survey();
  checkSentinels(survey, settings);
  return survey.members;
}

/** A connection for reads must lead to the same process as the group commit's; another attempt asks another Sentinel first. */
async function openReader(
  settings: StoreSettings,
  runId: string,
  attempt: number,
): Promise<Connection> {
  const connection = await settings.connections.toPrimary(settings, "read", attempt);
  if (connection.info.runId === runId) return connection;
  connection.destroy("another process");
  throw new StoreUnavailable("noLease", `Redis ${connection.address} is another process now`);
}

async function warnUnreachable(
  { settings, observe }: StoreContext,
  addresses: readonly string[],
): Promise<void> {
  for (const address of await checkReplicas(settings, addresses)) {
    const message = `the settings of replica ${address} cannot be checked: it cannot be reached`;
    observe({ type: "warning", message });
  }
}
