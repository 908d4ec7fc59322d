import { hostname } from "node:os";
import type { ConnectionOptions } from "node:tls";
import { type Clock, type Observer, type RootOfTrust, recordFormat } from "@holdfast/engine";
import { parseAddress } from "./address.ts";
import type { Connections } from "./connection.ts";
import { redisConnections } from "./redis-connection.ts";
import type { ShownCertificate } from "./shown-certificate.ts";
import { nodeTimers, type StoreTimers } from "./timers.ts";

/** How to connect to a Redis. Addresses are `host:port`; an IPv6 host is in brackets. */
export interface RedisConnectionOptions {
  /** The store's address where nothing promotes a replica, or something other than Sentinel does. */
  readonly address?: string;
  /** Addresses of all Sentinels; instead of `address`, together with `name`. */
  readonly sentinels?: readonly string[];
  /** The name under which the Sentinels know the store. */
  readonly name?: string;
  readonly username?: string;
  readonly password?: string;
  readonly sentinelUsername?: string;
  readonly sentinelPassword?: string;
  /** TLS to Redis; with `sentinelTls`, to the Sentinels too. */
  readonly tls?: ConnectionOptions;
  readonly sentinelTls?: ConnectionOptions;
  /** Called with the certificate of the server at each new connection by TLS. */
  readonly onCertificate?: (shown: ShownCertificate) => void;
  /** How many replicas a barrier must cover at least; every replica ever seen is required too. Default 0. */
  readonly replicas?: number;
  /** Default 2,000. */
  readonly connectTimeoutMs?: number;
  /** How long a command may take before its connection is destroyed. Default 1,500. */
  readonly commandTimeoutMs?: number;
  /** Trusts the settings of a Redis that shows them neither in INFO nor by CONFIG GET. Default false. */
  readonly assumeSafe?: boolean;
  /** How it connects; ioredis unless the simulation says otherwise. */
  readonly connections?: Connections;
  /** How it waits; Node's timers unless the simulation says otherwise. */
  readonly timers?: StoreTimers;
}

/** Where a node's memory lies: a file, or what the simulation has in its place. */
export interface MemoryFile {
  /** For messages. */
  readonly name: string;
  /** The whole content, or undefined if there is no file. Rejects if it cannot be read. */
  read(): Promise<Buffer | undefined>;
  /** Puts a new content in the place of the old one, which stays if this fails; durable when it resolves. */
  replace(content: AsyncIterable<Buffer>): Promise<void>;
  /** Appends to what `replace` wrote; durable when it resolves. */
  append(bytes: Buffer): Promise<void>;
  close(): Promise<void>;
}

/** What a node's memory needs. */
export interface MemoryOptions {
  readonly file: MemoryFile;
  readonly node: string;
  /** Wraps the key of the file, and opens it. */
  readonly root: Pick<RootOfTrust, "unwrap" | "describe" | "wrap">;
  readonly randomBytes: (count: number) => Uint8Array;
  /** Only reads the file, as commands do: the node beside them writes it. Default false. */
  readonly readOnly?: boolean;
}

/** Settings of a store; an absent setting has the default that its comment states. */
export interface RedisStoreOptions extends RedisConnectionOptions {
  readonly clock: Clock;
  readonly observe: Observer;
  /** The region that must own the store. */
  readonly region: string;
  /** Opens the store's keys, which it wrapped. */
  readonly root: Pick<RootOfTrust, "unwrap" | "describe">;
  /** Where this node remembers the store, so that an older state of it is noticed. Left out, it believes what Redis has. */
  readonly memory?: MemoryOptions;
  /** How long a full barrier lets a node use the store, counted from its beginning. Default 1,000. */
  readonly storeLeaseMs?: number;
  /**
   * A marker is written when nothing else was written for this long. Default a quarter of the
   * lease.
   */
  readonly markerMs?: number;
  /** How long a change waits for its barrier. Default 1,000. */
  readonly barrierTimeoutMs?: number;
  /** How long a request waits when there is no lease. Default 500. */
  readonly leaseWaitMs?: number;
  /** Something other than Sentinel may promote a replica: no read lease then. Default false. */
  readonly externalFailover?: boolean;
  /** About how many events a partition's audit stream keeps. Default 1,000,000. */
  readonly auditEntriesMax?: number;
  /** Events that may wait in memory to be appended. Default 10,000. */
  readonly auditQueueMax?: number;
  /**
   * A term with at least this many entries may count as too common to narrow a search. Default
   * 1,000.
   */
  readonly commonTermMin?: number;
  /** How often the settings of Redis and the Sentinels are checked again. Default 2,000. */
  readonly settingsCheckMs?: number;
  /** The newest format of records that this release reads and writes; `recordFormat` unless a test says otherwise. */
  readonly recordFormat?: number;
  /**
   * How often a node notes its format in the store; the note counts for three times as long.
   * Default 10,000.
   */
  readonly formatsEveryMs?: number;
  /** How other nodes of the region name this process, unlike any other. Default: its host and process identifier. */
  readonly processName?: string;
  /**
   * `openRedisStore` resolves although Redis cannot be reached yet; it still refuses an unsafe
   * Redis. Default false.
   */
  readonly openUnreachable?: boolean;
  /**
   * Another region has the data too, so another store may replace the one that was lost; with
   * `openUnreachable`, an emptied one may too. Default false: objects that the lost store promised
   * would be "not found".
   */
  readonly allowOtherStore?: boolean;
}

type Defaulted =
  | "replicas"
  | "connectTimeoutMs"
  | "commandTimeoutMs"
  | "assumeSafe"
  | "connections"
  | "timers"
  | "storeLeaseMs"
  | "markerMs"
  | "barrierTimeoutMs"
  | "leaseWaitMs"
  | "externalFailover"
  | "auditEntriesMax"
  | "auditQueueMax"
  | "commonTermMin"
  | "settingsCheckMs"
  | "recordFormat"
  | "formatsEveryMs"
  | "processName"
  | "openUnreachable"
  | "allowOtherStore";

/** The options with every default filled in. */
export type StoreSettings = Omit<RedisStoreOptions, Defaulted> &
  Required<Pick<RedisStoreOptions, Defaulted>>;

/** What a connection needs to know. */
export type ConnectionSettings = Omit<RedisConnectionOptions, ConnectionDefaulted> &
  Required<Pick<RedisConnectionOptions, ConnectionDefaulted>>;

type ConnectionDefaulted =
  | "replicas"
  | "connectTimeoutMs"
  | "commandTimeoutMs"
  | "assumeSafe"
  | "connections"
  | "timers";

/** Fills in the defaults of a connection; a contradiction is a `RangeError` that names the option. */
export function connectionSettings(options: RedisConnectionOptions): ConnectionSettings {
  const { address, sentinels, name } = options;
  if ((address === undefined) === (sentinels === undefined)) {
    throw new RangeError("redis: give either address, or sentinels and name");
  }
  if (sentinels !== undefined && (sentinels.length === 0 || !name)) {
    throw new RangeError("redis: sentinels needs at least one address, and name");
  }
  for (const each of [...(sentinels ?? []), ...(address === undefined ? [] : [address])]) {
    parseAddress(each);
  }
  return {
    replicas: 0,
    connectTimeoutMs: 2_000,
    commandTimeoutMs: 1_500,
    assumeSafe: false,
    connections: redisConnections,
    timers: nodeTimers,
    ...options,
  };
}

/** Fills in the defaults of a store. */
export function storeSettings(options: RedisStoreOptions): StoreSettings {
  const storeLeaseMs = options.storeLeaseMs ?? 1_000;
  return {
    barrierTimeoutMs: 1_000,
    leaseWaitMs: 500,
    externalFailover: false,
    auditEntriesMax: 1_000_000,
    auditQueueMax: 10_000,
    commonTermMin: 1_000,
    settingsCheckMs: 2_000,
    recordFormat,
    formatsEveryMs: 10_000,
    processName: `${hostname()} ${process.pid}`,
    openUnreachable: false,
    allowOtherStore: false,
    markerMs: storeLeaseMs / 4,
    ...options,
    ...connectionSettings(options),
    storeLeaseMs,
  };
}
