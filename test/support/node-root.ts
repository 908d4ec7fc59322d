import { machine } from "@holdfast/server/base";
import type { StorageKeys } from "../../packages/redis/src/storage-keys/storage-keys.ts";
import { loadConfig } from "../../packages/server/src/config/config.ts";
import { type CommandRoot, openCommandRoot } from "../../packages/server/src/roots/command-root.ts";
import type { RedisServer } from "./redis.ts";
import { type OpenOptions, type OpenStore, openStore, patientOptions } from "./redis-store.ts";
import { storageKeysOf } from "./stored-value.ts";

interface Configured {
  readonly configFile: string;
}

/** A node's configured root of trust, which opens the keys of its region's store. */
export async function rootOf({ configFile }: Configured): Promise<CommandRoot> {
  return await openCommandRoot(loadConfig(configFile), machine);
}

/** Opens the store of a region's nodes as they do, with bounds that a busy machine does not meet. */
export async function openStoreOf(
  region: {
    readonly name: string;
    readonly redis: { readonly primary: { readonly address: string } };
    readonly node: (at: number) => Configured;
  },
  options: Partial<OpenOptions> = {},
): Promise<OpenStore> {
  const root = await rootOf(region.node(0));
  const { address } = region.redis.primary;
  const own = { address, region: region.name, root };
  const opened = await openStore({ ...patientOptions, ...own, ...options });
  const close = async (): Promise<void> => {
    await opened[Symbol.asyncDispose]();
    await root.close();
  };
  return { ...opened, [Symbol.asyncDispose]: close };
}

/** The storage keys of a region's store. */
export async function storageKeysIn(region: {
  readonly redis: { readonly primary: RedisServer };
  readonly node: (at: number) => Configured;
}): Promise<StorageKeys> {
  const root = await rootOf(region.node(0));
  try {
    return await storageKeysOf(region.redis.primary, root);
  } finally {
    await root.close();
  }
}
