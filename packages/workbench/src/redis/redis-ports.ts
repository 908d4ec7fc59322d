import { hash } from "node:crypto";
import { OperatorError, printAddress } from "@holdfast/server/base";
import { defaultFolder, type Folder, readJson, writeJson } from "../base/folder.ts";
import { freePorts, isFree } from "../base/ports.ts";
import { partName, type RedisPorts, redisHost, redisRoles } from "./redis.ts";

/** The settings of a region that must stay the same at the next start. */
export interface RegionSettings {
  readonly redisPorts: RedisPorts;
  /** Addresses of replicas that moved: the store waits for every replica it has ever seen until one is forgotten. */
  readonly forget: readonly string[];
}

/** The settings that must stay the same at the next start, by region. */
export interface Settings {
  readonly regions: Readonly<Record<string, RegionSettings>>;
}

/** The first port tried at the first start of the cluster in the default folder. */
const portFirst = 16_379;
const portsPerFolder = 16;
const foldersMax = 900;

/** The ports of the last start. If another program has taken one since, reports this and uses a free one. */
export async function settleRedisPorts(
  folder: Folder,
  regions: readonly string[],
  say: (line: string) => void,
): Promise<Settings> {
  const known = readJson<Settings>(folder.settings)?.regions ?? {};
  refuseOthers(folder, Object.keys(known), regions);
  const taken = Object.values(known).flatMap(({ redisPorts }) => Object.values(redisPorts));
  const first = firstPort(folder);
  const settled: Record<string, RegionSettings> = {};
  for (const region of regions) {
    settled[region] = await settleRegion(region, known[region], first, taken, say);
  }
  const settings = { regions: settled };
  writeJson(folder.settings, settings);
  return settings;
}

/** Refuses other regions: the rest would wait for a removed region, and a new one would not fit the stored data. */
function refuseOthers(folder: Folder, known: readonly string[], asked: readonly string[]): void {
  if (known.length === 0 || known.join() === asked.join()) return;
  throw new OperatorError(
    `${folder.root} was created with ${known.length === 1 ? "one region" : `${known.length} regions`}: start it with --regions ${known.length}, or another in a folder of its own with --dir`,
  );
}

/**
 * Each folder has its own range of ports: while a Redis is down, its port is free, and another cluster that took it
 * would answer this cluster's nodes and commands with "wrong password".
 */
function firstPort({ root }: Folder): number {
  if (root === defaultFolder) return portFirst;
  const place = 1 + (hash("sha256", root, "buffer").readUInt32BE() % (foldersMax - 1));
  return portFirst + place * portsPerFolder;
}

/** Adds the ports that it assigns to `taken`. */
async function settleRegion(
  region: string,
  known: RegionSettings | undefined,
  first: number,
  taken: number[],
  say: (line: string) => void,
): Promise<RegionSettings> {
  const moved: string[] = [];
  const ports: Partial<Record<keyof RedisPorts, number>> = {};
  for (const role of redisRoles) {
    const old = known?.redisPorts[role];
    if (old !== undefined && (await isFree({ host: redisHost, port: old }))) {
      ports[role] = old;
      continue;
    }
    const [port = 0] = await freePorts(redisHost, Math.max(first - 1, ...taken) + 1, 1);
    taken.push(port);
    ports[role] = port;
    if (old === undefined) continue;
    say(`Port ${old} is taken by another program: ${partName(role, region)} moves to ${port}.`);
    if (role === "replica") moved.push(printAddress({ host: redisHost, port: old }));
  }
  return { redisPorts: ports as RedisPorts, forget: [...(known?.forget ?? []), ...moved] };
}

/** Notes that the stores no longer wait for replicas that moved. */
export function noteForgotten(folder: Folder, { regions }: Settings): void {
  const known = Object.entries(regions).map(([name, one]) => [name, { ...one, forget: [] }]);
  writeJson(folder.settings, { regions: Object.fromEntries(known) });
}
