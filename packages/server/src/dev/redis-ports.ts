import { printAddress } from "../address.ts";
import { type Folder, readJson, writeJson } from "./folder.ts";
import { freePorts, isFree } from "./ports.ts";
import { type RedisPorts, redisHost, redisRoles } from "./redis.ts";

/** What must be the same at the next start. */
export interface RedisSettings {
  readonly redisPorts: RedisPorts;
  /** Addresses of replicas that moved: the store waits for every replica it has ever seen until told otherwise. */
  readonly forget: readonly string[];
}

/** The first port tried at a cluster's first start. */
const portFirst = 16_379;

/** The ports of the last start. One that somebody has taken since moves to a free one, which is said. */
export async function settleRedisPorts(
  folder: Folder,
  say: (line: string) => void,
): Promise<RedisSettings> {
  const known = readJson<RedisSettings>(folder.settings);
  const moved: string[] = [];
  const ports: Partial<Record<keyof RedisPorts, number>> = {};
  for (const role of redisRoles) {
    const old = known?.redisPorts[role];
    if (old !== undefined && (await isFree({ host: redisHost, port: old }))) {
      ports[role] = old;
      continue;
    }
    const others = [...Object.values(ports), ...Object.values(known?.redisPorts ?? {})];
    const [port = 0] = await freePorts(redisHost, Math.max(portFirst - 1, ...others) + 1, 1);
    ports[role] = port;
    if (old === undefined) continue;
    say(`Port ${old} is taken by another program: Redis ${role} moves to ${port}.`);
    if (role === "replica") moved.push(printAddress({ host: redisHost, port: old }));
  }
  const settings = {
    redisPorts: ports as RedisPorts,
    forget: [...(known?.forget ?? []), ...moved],
  };
  writeJson(folder.settings, settings);
  return settings;
}

/** Notes that the store waits for no replica any more that is gone. */
export function noteForgotten(folder: Folder, settings: RedisSettings): void {
  writeJson(folder.settings, { ...settings, forget: [] });
}
