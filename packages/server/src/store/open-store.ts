import {
  DiskMemoryFile,
  openRedisStore,
  openRedisTrail,
  type RedisStore,
  type RedisStoreOptions,
  type RedisTrail,
} from "@holdfast/redis";
import type { Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import { openCommandRoot } from "../roots/command-root.ts";
import { storeConnection } from "./store-access.ts";

interface OpenOptions extends Pick<RedisStoreOptions, "openUnreachable" | "allowOtherStore"> {
  /** The configuration whose root of trust opens the store's keys; the same unless given. */
  readonly rootFrom?: string;
}

/** Opens the configured store for a command, with the configured root of trust, until `opened` is disposed of. */
export async function openStoreOf(
  configFile: string,
  machine: Machine,
  opened: AsyncDisposableStack,
  { rootFrom = configFile, ...more }: OpenOptions = {},
): Promise<RedisStore> {
  const root = opened.use(await openCommandRoot(loadConfig(rootFrom), machine));
  const { store, node } = loadConfig(configFile);
  const { randomBytes } = machine.ids;
  const memory = store.memoryFile !== undefined && {
    memory: { file: new DiskMemoryFile(store.memoryFile), node, root, randomBytes, readOnly: true },
  };
  return opened.use(
    await openRedisStore({ ...placeOf(configFile, machine), root, ...memory, ...more }),
  );
}

/** Opens the audit trail of the configured store for a command, which needs no root of trust. */
export async function openTrailOf(
  configFile: string,
  machine: Machine,
  opened: AsyncDisposableStack,
): Promise<RedisTrail> {
  return opened.use(await openRedisTrail({ ...placeOf(configFile, machine), ids: machine.ids }));
}

function placeOf(configFile: string, { clock, environment }: Machine) {
  const { store, region } = loadConfig(configFile);
  return {
    ...storeConnection(store, environment),
    ...{ clock, region, observe: () => undefined },
    storeLeaseMs: store.leaseMs,
    externalFailover: store.externalFailover,
  };
}
