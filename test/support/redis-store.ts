import { randomBytes, randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import {
  type AuditEvent,
  type Clock,
  decodeAudit,
  type Event,
  type InstanceStatus,
  type ManagedObject,
  partitionOf,
  StoreUnavailable,
  sysPartition,
} from "@holdfast/engine";
import { MemoryRootOfTrust, sampleObject } from "@holdfast/engine/testing";
import {
  type InitialisedStore,
  initialiseStore,
  openRedisStore,
  type RedisStore,
  type RedisStoreOptions,
} from "@holdfast/redis";
import { answerOf } from "@holdfast/testing";
import { parse, stringify } from "yaml";
import type { RedisServer } from "./redis.ts";

/** The machine's clocks. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

/** The source of identifiers and of a store's ID. */
export const systemIds = { uuid: () => randomUUID(), randomBytes: (n: number) => randomBytes(n) };

/** Makes a node use other settings of its store from its next start on; returns what puts its configuration back. */
export async function setStore(configFile: string, settings: object): Promise<() => Promise<void>> {
  const before = await readFile(configFile, "utf8");
  const config = parse(before) as { store: object };
  const store = { ...config.store, ...settings };
  await writeFile(configFile, stringify({ ...config, store }));
  return () => writeFile(configFile, before);
}

/** A store and the events that its observer got. */
export interface OpenStore extends AsyncDisposable {
  readonly store: RedisStore;
  readonly events: readonly Event[];
}

/** The root key of every test's own stores; the same in all processes. */
const rootKey = Buffer.alloc(32, "root key of tests");

/** The root of trust of stores without nodes. */
export const testRoot = new MemoryRootOfTrust(
  { ...systemIds, randomBytes: (n) => (n === rootKey.length ? rootKey : randomBytes(n)) },
  "tests",
);

type Defaulted = "clock" | "observe" | "region" | "root";

/** Options of a store; clock, observer, region (`a`) and root of trust have defaults. */
export type OpenOptions = Omit<RedisStoreOptions, Defaulted> &
  Partial<Pick<RedisStoreOptions, Defaulted>>;

/** Bounds of a connection that a machine busy with other work does not meet. */
export const patientConnection = { connectTimeoutMs: 30_000, commandTimeoutMs: 30_000 };

/** Bounds of a store that such a machine does not meet; its markers come as often as a node's. */
export const patientOptions = {
  ...patientConnection,
  ...{ storeLeaseMs: 60_000, markerMs: 250, leaseWaitMs: 30_000, barrierTimeoutMs: 30_000 },
};

/** The same for a test of refusals: they come at once. */
export const refusingOptions = { ...patientOptions, leaseWaitMs: 500 };

const passing: ReadonlySet<string> = new Set(["noLease", "timeout", "barrierShort"]);

/** Asks again while a store has no lease, or does not answer in time, as may be for a moment on a busy machine. */
export function retried<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  return answerOf("an answer of the store", ask, (error) => {
    return error instanceof StoreUnavailable && passing.has(error.failure);
  });
}

/** Opens an initialised store. */
export async function openStore(options: OpenOptions): Promise<OpenStore> {
  const events: Event[] = [];
  const store = await openRedisStore({
    clock: systemClock,
    observe: (event) => events.push(event),
    region: "a",
    root: testRoot,
    ...options,
  });
  return { store, events, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

type InitOptions = Parameters<typeof initialiseStore>[0];

/** Makes the Redis behind `options` a store; region (`a`) and root of trust have defaults. */
export function initStore(
  options: Omit<InitOptions, "ids" | "region" | "root"> &
    Partial<Pick<InitOptions, "region" | "root">>,
): Promise<InitialisedStore> {
  const given = { ...patientConnection, region: "a", root: testRoot, ids: systemIds };
  return initialiseStore({ ...given, ...options });
}

/** Initialises the Redis behind `options` and opens it. */
export async function openNewStore(
  options: OpenOptions & { readonly root?: InitOptions["root"] },
): Promise<OpenStore> {
  await retried(() => initStore(options));
  return retried(() => openStore(options));
}

/** Installs a new instance, and returns its identifier. */
export async function installed(store: RedisStore): Promise<string> {
  const instance = randomUUID();
  await retried(() => store.install(instance));
  return instance;
}

/** Creates an object and returns it. */
export async function create(store: RedisStore, instance: string): Promise<ManagedObject> {
  const after = sampleObject(instance, randomUUID());
  const outcome = await store.commit(instance, [{ kind: "create", after }], []);
  if (outcome.kind !== "committed") throw new Error(`not created: ${outcome.kind}`);
  return after;
}

/** A Redis to which a test sends commands of its own; in the simulation it is none of the processes here. */
type Redis = Pick<RedisServer, "command" | "buffers">;

type AuditStream = readonly (readonly [id: Buffer, fields: readonly [Buffer, Buffer]])[];

/** Every audit event of an instance in the streams of all partitions, oldest first. */
export async function auditOf(redis: Redis, instance: string): Promise<readonly AuditEvent[]> {
  const keys = (await redis.command("keys", "{p*}:audit")) as string[];
  const events: AuditEvent[] = [];
  for (const key of keys) {
    const entries = (await redis.buffers("xrange", key, "-", "+")) as unknown as AuditStream;
    for (const [, [, bytes]] of entries) {
      const content = decodeAudit(bytes);
      if (content.instance === instance) events.push(...content.events);
    }
  }
  return events;
}

/** `{p00}:` to `{p63}:`, and `{sys}:`. */
function prefixOf(instance: string): string {
  const partition = partitionOf(instance);
  return partition === sysPartition ? "{sys}:" : `{p${String(partition).padStart(2, "0")}}:`;
}

/** The key of a record, and its bytes: header and record. */
export async function recordOf(
  redis: Redis,
  instance: string,
  uniqueIdentifier: string,
): Promise<{ readonly key: Buffer; readonly value: Buffer }> {
  const id = Buffer.from(uniqueIdentifier.replaceAll("-", ""), "hex");
  const key = Buffer.concat([Buffer.from(`${prefixOf(instance)}o:`), id]);
  return { key, value: (await redis.buffers("get", key)) as unknown as Buffer };
}

/** Gives an instance a status, as administration does. */
export async function setStatus(
  redis: Redis,
  instance: string,
  status: InstanceStatus,
): Promise<void> {
  await redis.command("set", `${prefixOf(instance)}s:${encodeURIComponent(instance)}`, status);
}
