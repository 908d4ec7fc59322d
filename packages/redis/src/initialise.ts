import { type Ids, StoreUnavailable } from "@holdfast/engine";
import { Connection } from "./connection.ts";
import { storeFailure } from "./failure.ts";
import { partitionCount, partitionKeys, sysKeys, sysPartition } from "./keys.ts";
import { connectionSettings, type RedisConnectionOptions } from "./options.ts";
import { readPartitionHead } from "./record-header.ts";
import { readPairs, readReply, readRole } from "./replies.ts";
import { loadScripts } from "./scripts.ts";
import { SentinelWatch } from "./sentinels.ts";
import { checkReplicas, checkSettings } from "./settings-check.ts";

/** How long a single WAITAOF of an operator's command waits. */
const waitMs = 2_000;

/** What `initialiseStore` made. */
export interface InitialisedStore {
  readonly storeId: string;
  readonly address: string;
  /** Replicas that hold it. */
  readonly replicas: number;
}

/**
 * Marks an empty Redis as a store (`holdfast store init`). Rejects with `StoreUnavailable` where it is unsafe, or holds
 * any key.
 */
export function initialiseStore(
  options: RedisConnectionOptions & { readonly ids: Pick<Ids, "randomBytes"> },
): Promise<InitialisedStore> {
  return withPrimary(options, async (connection) => {
    const settings = connectionSettings(options);
    const { address } = connection;
    await checkSettings(connection, settings);
    const { replicas } = readRole(await connection.call("role"));
    await checkReplicas(settings, replicas);
    const storeId = Buffer.from(options.ids.randomBytes(16));
    const heads = Array.from({ length: partitionCount + 1 }, (_, i) => partitionKeys(i).head);
    const keys = [sysKeys.beat, sysKeys.replicasVersion, ...heads];
    const reply = readReply(await connection.run(loadScripts().initialise, keys, [storeId]));
    if (reply.result !== "committed") {
      throw new StoreUnavailable(
        "unsafe",
        `Redis ${address} is not empty (${reply.number} keys): a store begins in an empty one, db 0`,
      );
    }
    const required = Math.max(settings.replicas, replicas.length);
    await barrier(connection, required);
    return { storeId: storeId.toString("hex"), address, replicas: required };
  });
}

/** A replica that barriers wait for. */
export interface KnownReplica {
  readonly address: string;
  /** When a node first saw it, in milliseconds since the epoch. */
  readonly firstSeenMs: number;
  readonly connected: boolean;
}

/** Every replica that barriers wait for: all that were ever seen and not forgotten. */
export function listReplicas(options: RedisConnectionOptions): Promise<readonly KnownReplica[]> {
  return withPrimary(options, async (connection) => {
    await checkMarker(connection);
    const seen = readPairs(await connection.call("hgetall", sysKeys.replicas));
    const connected = new Set(readRole(await connection.call("role")).replicas);
    return [...seen]
      .map(([address, firstSeen]) => {
        return { address, firstSeenMs: Number(firstSeen), connected: connected.has(address) };
      })
      .toSorted((a, b) => a.firstSeenMs - b.firstSeenMs);
  });
}

/**
 * An operator's word that a replica is gone for good: barriers no longer wait for it. False where it was not known;
 * rejects while it is connected or a Sentinel lists it, since it would be known again at once.
 */
export function forgetReplica(options: RedisConnectionOptions, replica: string): Promise<boolean> {
  return withPrimary(options, async (connection) => {
    await checkMarker(connection);
    if (readRole(await connection.call("role")).replicas.includes(replica)) {
      throw new StoreUnavailable("unsafe", `replica ${replica} is connected: stop it first`);
    }
    await checkSentinels(options, replica);
    const head = partitionKeys(sysPartition).head;
    const keys = [head, sysKeys.replicas, sysKeys.replicasVersion];
    const script = loadScripts()["forget-replica"];
    const { rest } = readReply(await connection.run(script, keys, [replica]));
    await barrier(connection, 0);
    return rest[0] === 1;
  });
}

async function withPrimary<Result>(
  options: RedisConnectionOptions,
  work: (connection: Connection) => Promise<Result>,
): Promise<Result> {
  const settings = { ...connectionSettings(options) };
  const patient = { ...settings, commandTimeoutMs: waitMs + settings.commandTimeoutMs };
  const connection = await Connection.toPrimary(patient, "operator");
  try {
    if (connection.info.role !== "master") {
      throw new StoreUnavailable("noLease", `Redis ${connection.address} is a replica`);
    }
    return await work(connection);
  } finally {
    connection.destroy("done");
  }
}

async function checkSentinels(options: RedisConnectionOptions, replica: string): Promise<void> {
  const settings = connectionSettings(options);
  if (settings.sentinels === undefined) return;
  const never = { monotonicMs: 0, wallMs: 0 };
  await using sentinels = new SentinelWatch(
    settings,
    waitMs,
    () => never,
    () => undefined,
  );
  const { members } = await sentinels.survey();
  if (!members.includes(replica)) return;
  throw new StoreUnavailable(
    "unsafe",
    `a Sentinel still lists ${replica}: run SENTINEL RESET ${settings.name} on each of them first`,
  );
}

async function checkMarker(connection: Connection): Promise<void> {
  const value = await connection.call("get", partitionKeys(sysPartition).head);
  if (readPartitionHead(value as Buffer | null) !== undefined) return;
  throw new StoreUnavailable("notInitialised", `Redis ${connection.address} holds no store`);
}

async function barrier(connection: Connection, replicas: number): Promise<void> {
  const answer = await connection.call("waitaof", "1", String(replicas), String(waitMs));
  const [local = 0, remote = 0] = Array.isArray(answer) ? answer.map(Number) : [];
  if (local >= 1 && remote >= replicas) return;
  throw storeFailure(
    new StoreUnavailable(
      "barrierShort",
      `Redis ${connection.address}: ${remote} of ${replicas} replicas have it on their disk`,
    ),
    connection.address,
  );
}
