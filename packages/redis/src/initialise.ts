import {
  type Ids,
  partitionCount,
  recordFormat,
  StoreUnavailable,
  sysPartition,
} from "@holdfast/engine";
import { type Connection, runScript } from "./connection/connection.ts";
import { partitionKeys, sysKeys } from "./connection/keys.ts";
import { connectionSettings, type RedisConnectionOptions } from "./connection/options.ts";
import { readPartitionHead } from "./connection/record-header.ts";
import { readPairs, readReply, readRole } from "./connection/replies.ts";
import { loadScripts } from "./connection/scripts.ts";
import { refuseOverStore } from "./other-members.ts";
import { type KeyWrapper, wrapStorageKey } from "./records/key-wraps.ts";
import { claim } from "./session/claim.ts";
import { requiredFormatPlace, storedFormat } from "./session/formats.ts";
import { notInitialised } from "./session/group-commit.ts";
import { sentinelMembers } from "./session/sentinels.ts";
import { checkReplicas, checkSettings } from "./session/settings-check.ts";
import { readKeyEntries, soundKeyEntries, writeKeyEntry } from "./storage-keys/key-entry.ts";
import { writeKeyNote } from "./storage-keys/key-note.ts";
import { keyFailure } from "./storage-keys/key-opening.ts";
import { deriveStorageKey, keySteps, storageKeyBytes } from "./storage-keys/storage-keys.ts";
import { proveValue } from "./storage-keys/value-proof.ts";

/** How long a single WAITAOF of an operator's command waits. A replica of a new store may still be joining. */
const waitMs = 10_000;

/** What `initialiseStore` made or found. */
export interface InitialisedStore {
  readonly storeId: string;
  readonly address: string;
  /** Replicas that hold it; 0 for a store that existed before, where they are not counted. */
  readonly replicas: number;
  /** Whether the store existed before and was not marked again. */
  readonly already: boolean;
}

/**
 * Marks an empty Redis as a store, with a storage key that the root of trust wraps (`holdfast store init`). Rejects with
 * `StoreUnavailable` where Redis is unsafe or holds keys of another program, where another member still holds a store or
 * does not answer, or where the root of trust does not answer.
 */
export function initialiseStore(
  options: RedisConnectionOptions & {
    readonly ids: Pick<Ids, "randomBytes">;
    /** The region that will own the store, or must own it where there is one already. */
    readonly region: string;
    readonly root: KeyWrapper;
    /** What every node of the store must read; `recordFormat` unless a test says otherwise. */
    readonly recordFormat?: number;
    /** Further addresses that may hold the store, beside the primary's replicas and what the Sentinels know. */
    readonly members?: readonly string[];
  },
): Promise<InitialisedStore> {
  return withPrimary(options, async (connection) => {
    const settings = connectionSettings(options);
    const { address } = connection;
    await checkSettings(connection, settings);
    const { replicas } = readRole(await connection.call("role"));
    await checkReplicas(settings, replicas);
    const { region, ids, root } = options;
    const existing = await markerOf(connection);
    if (existing !== undefined) return await already(connection, existing, region);
    await refuseOverStore(address, settings, replicas, options.members ?? []);
    const storeId = Buffer.from(ids.randomBytes(16));
    const made = storeId.toString("hex");
    const format = String(storedFormat(options.recordFormat ?? recordFormat));
    const name = { storeId: made, region, number: 1 };
    const { entry, note, proof } = await firstKey(name, format, ids, root);
    const heads = Array.from({ length: partitionCount + 1 }, (_, i) => partitionKeys(i).head);
    const { beat, replicasVersion, formats } = sysKeys;
    const keys = [beat, replicasVersion, sysKeys.region, sysKeys.keys, formats, ...heads];
    const script = loadScripts().initialise;
    const args = [storeId, region, entry, note, format, proof];
    const reply = readReply(await runScript(connection, script, keys, args));
    if (reply.result !== "committed") {
      const found = await markerOf(connection);
      if (found !== undefined) return await already(connection, found, region);
      throw foreignKeys(address, reply.number);
    }
    const required = Math.max(settings.replicas, replicas.length);
    await barrier(connection, required, (have) =>
      have < required
        ? `is marked as store ${made}, but only ${have} of ${required} replicas have it on their disk: it is served only once all have it; start them, you need not mark it again`
        : `is marked as store ${made}, but does not have it on its own disk yet`,
    );
    return { storeId: made, address, replicas: required, already: false };
  });
}

/** The store that is there already, which must be the region's and have a storage key. */
async function already(
  connection: Connection,
  storeId: string,
  region: string,
): Promise<InitialisedStore> {
  const { address } = connection;
  await claim(connection, loadScripts(), region);
  const answer = await connection.call("hgetall", sysKeys.keys);
  soundKeyEntries(readKeyEntries(answer, storeId), storeId, address);
  return { storeId, address, replicas: 0, already: true };
}

/** Makes a store's first key: the entry and note for `{sys}:keys`, and the proof of the format that is required. */
async function firstKey(
  name: { readonly storeId: string; readonly region: string; readonly number: number },
  format: string,
  ids: Pick<Ids, "randomBytes">,
  root: KeyWrapper,
): Promise<{ readonly entry: string; readonly note: string; readonly proof: Buffer }> {
  const secret = ids.randomBytes(storageKeyBytes);
  try {
    const entry = writeKeyEntry(await wrapStorageKey(secret, name, root));
    const key = deriveStorageKey(secret, name);
    const proof = proveValue(key, requiredFormatPlace, format);
    return { entry, note: writeKeyNote(key, keySteps.only(name.number)), proof };
  } catch (error) {
    throw keyFailure(error, { number: name.number, storeId: name.storeId, rootOfTrust: "" });
  } finally {
    secret.fill(0);
  }
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
 * Forgets a replica that is gone for good, as the operator says: barriers no longer wait for it.
 * False where it was not known; rejects while it is connected or a Sentinel lists it, since it
 * would be added again at once.
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
    const { rest } = readReply(await runScript(connection, script, keys, [replica]));
    await barrier(connection, 0, () => "does not have it on its own disk yet");
    return rest[0] === 1;
  });
}

async function withPrimary<Result>(
  options: RedisConnectionOptions,
  work: (connection: Connection) => Promise<Result>,
): Promise<Result> {
  const settings = { ...connectionSettings(options) };
  const patient = { ...settings, commandTimeoutMs: waitMs + settings.commandTimeoutMs };
  const connection = await settings.connections.toPrimary(patient, "operator");
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
  if (!(await sentinelMembers(settings)).includes(replica)) return;
  throw new StoreUnavailable(
    "unsafe",
    `a Sentinel still lists ${replica}: run SENTINEL RESET ${settings.name} on each of them first`,
  );
}

async function checkMarker(connection: Connection): Promise<void> {
  if ((await markerOf(connection)) !== undefined) return;
  throw notInitialised(connection.address);
}

/** The id of the store in this Redis; undefined where there is none. */
async function markerOf(connection: Connection): Promise<string | undefined> {
  // A key of another program may have any type: GET would refuse it, and MGET answers null for it.
  const values = await connection.call("mget", partitionKeys(sysPartition).head);
  return readPartitionHead((values as readonly (Buffer | null)[])[0])?.storeId;
}

/** Never advises to empty it: another program may need the keys. */
function foreignKeys(address: string, count: number): StoreUnavailable {
  return new StoreUnavailable(
    "unsafe",
    `Redis ${address} holds keys (${count}) that are not Holdfast's: use another Redis, whose db 0 is empty`,
  );
}

async function barrier(
  connection: Connection,
  replicas: number,
  short: (remote: number) => string,
): Promise<void> {
  const answer = await connection.call("waitaof", "1", String(replicas), String(waitMs));
  const [local = 0, remote = 0] = Array.isArray(answer) ? answer.map(Number) : [];
  if (local >= 1 && remote >= replicas) return;
  throw new StoreUnavailable("barrierShort", `Redis ${connection.address} ${short(remote)}`);
}
