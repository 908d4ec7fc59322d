import { openRedisStore, type RedisStore, type RedisStoreOptions } from "@holdfast/redis";
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
  const config = loadConfig(configFile);
  const { store, region } = config;
  const connection = storeConnection(store, machine.environment);
  const root = opened.use(await openCommandRoot(loadConfig(rootFrom), machine));
  return opened.use(
    await openRedisStore({
      ...connection,
      clock: machine.clock,
      observe: () => undefined,
      region,
      root,
      storeLeaseMs: store.leaseMs,
      externalFailover: store.externalFailover,
      ...more,
    }),
  );
}
