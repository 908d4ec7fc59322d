import { spawn } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { AdminClient } from "@holdfast/admin";
import type { KmipClient } from "@holdfast/client";
import { vendorItem, vendorKey, vendorTags } from "@holdfast/engine";
import { textString } from "@holdfast/ttlv";
import { adminClient, firstToken } from "../support/admin-api.ts";
import { clientOf } from "../support/load.ts";
import type { RedisServer } from "../support/redis.ts";
import { layRegion, type Region } from "../support/region.ts";
import type { Extent } from "./options.ts";
import { median } from "./statistics.ts";

/** How long one of each takes with so many keys in the instance; medians, milliseconds. */
interface KeysTimes {
  readonly keys: number;
  readonly pageMs: number;
  readonly deepPageMs: number;
  readonly countMs: number;
  readonly getMs: number;
  readonly locateMs: number;
}

/** What many keys cost. */
export interface KeysFigures {
  readonly few: KeysTimes;
  readonly many: KeysTimes;
  readonly loadSeconds: number;
  /** Of Redis's memory, records and indexes. */
  readonly bytesPerKey: number;
  readonly backup: { readonly seconds: number; readonly bytes: number };
  /** The drill: read, restored into an empty store, keys opened. */
  readonly restoreSeconds: number;
}

const instance = "bench";
const fewKeys = 1_000;
const pageLimit = 100;
const rounds = 300;
const pageRounds = 60;
const entry = join(import.meta.dirname, "../../packages/server/src/main.ts");

/** Loads many keys by `holdfast dev load`, and compares what one takes with what it takes among few. */
export async function measureKeys(
  { loadedKeys }: Extent,
  signal: AbortSignal,
): Promise<KeysFigures> {
  await using opened = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "holdfast-bench-keys-"));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  const region = opened.use(await layKeys(folder));
  const config = region.node(0).configFile;
  const run = (...args: readonly string[]) => command([...args, "--config", config], signal);
  await run("backup", "key", "init");
  await Promise.all(region.nodes.map((node) => node.start()));
  const target = { node: region.node(0), ca: region.ca };
  const admin = opened.use(adminClient(target, await firstToken(target)));
  const kmip = opened.use(await clientOf(region, instance, 0));
  const load = (keys: number) => run("dev", "load", "--instance", instance, "--keys", String(keys));
  await load(fewKeys);
  // Once unseen, so that the compiler has been there before.
  await timesOf(admin, kmip, fewKeys);
  const few = await timesOf(admin, kmip, fewKeys);
  const { primary } = region.redis;
  const before = await usedBytes(primary);
  const added = loadedKeys - fewKeys;
  const loadSeconds = secondsIn(await load(added));
  const bytesPerKey = ((await usedBytes(primary)) - before) / added;
  const many = await timesOf(admin, kmip, loadedKeys);
  const file = join(folder, "bench.backup");
  const backupSeconds = secondsIn(await run("backup", "create", file));
  const { size: bytes } = await stat(file);
  const restoreSeconds = await seconds(() => run("backup", "verify", file, "--keys", "100"));
  return {
    few,
    many,
    loadSeconds,
    bytesPerKey,
    backup: { seconds: backupSeconds, bytes },
    restoreSeconds,
  };
}

/** Without replicas, whose barrier is measured elsewhere. */
function layKeys(folder: string): Promise<Region> {
  return layRegion({
    instances: [instance],
    nodes: 1,
    replicas: 0,
    admin: true,
    settings: {
      log: { level: "info" },
      backup: { keyFile: join(folder, "key.json") },
    },
  });
}

async function timesOf(admin: AdminClient, kmip: KmipClient, keys: number): Promise<KeysTimes> {
  const params = { instance };
  const page = (cursor?: string) =>
    admin.call("listKeys", {
      params,
      query: { limit: pageLimit, ...(cursor !== undefined && { cursor }) },
    });
  const pageMs = await medianMs(pageRounds, () => page());
  let { next } = await page();
  const deepPageMs = await medianMs(pageRounds, async () => {
    const answer = await page(next);
    next = answer.next ?? next;
  });
  const countMs = await medianMs(pageRounds, () => admin.call("countKeys", { params }));
  const chosen: string[] = [];
  const locateMs = await medianMs(rounds, async () => {
    // The later load begins at 0 again: of two with one name the newest is answered first.
    const number = Math.floor(Math.random() * (keys - fewKeys || keys));
    const { uniqueIdentifiers } = await kmip.locate({
      attributes: [{ item: called(number) }],
      maximumItems: 1,
    });
    const [id] = uniqueIdentifiers;
    if (id === undefined) throw new Error(`load-${number} is not located`);
    chosen.push(id);
  });
  const getMs = await medianMs(rounds, async (at) => {
    await kmip.get({ uniqueIdentifier: chosen[at % chosen.length] ?? "" });
  });
  return { keys, pageMs, deepPageMs, countMs, getMs, locateMs };
}

function called(number: number) {
  const value = textString(vendorTags.AttributeValue, `load-${number}`);
  return vendorItem({ key: vendorKey("x", "Identifier"), value });
}

async function medianMs(count: number, work: (at: number) => Promise<unknown>): Promise<number> {
  const warm = Math.ceil(count / 5);
  const times: number[] = [];
  for (let at = 0; at < warm + count; at++) {
    const started = performance.now();
    await work(at);
    if (at >= warm) times.push(performance.now() - started);
  }
  return median(times) ?? Number.NaN;
}

/** How long a command says that it took, without its process's start. */
function secondsIn(said: string): number {
  return Number(/ in ([\d.]+) s/.exec(said)?.[1] ?? Number.NaN);
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

async function usedBytes(redis: RedisServer): Promise<number> {
  let bytes = Number(await redis.info("used_memory"));
  for (const buffer of ["mem_clients_normal", "mem_aof_buffer"]) {
    bytes -= Number(await redis.info(buffer));
  }
  return bytes;
}

/** Runs one of the server's own commands, however long that takes. */
async function command(args: readonly string[], signal: AbortSignal): Promise<string> {
  const child = spawn(process.execPath, [entry, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    signal,
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("exit", resolve);
    child.once("error", reject);
  });
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (code !== 0) throw new Error(`holdfast ${args.slice(0, 2).join(" ")}: ${err || out}`);
  return out;
}

/** The figures in lines for people. */
export function keysLines({
  few,
  many,
  loadSeconds,
  bytesPerKey,
  backup,
  restoreSeconds,
}: KeysFigures): string[] {
  const added = many.keys - few.keys;
  const line = ({ keys, pageMs, deepPageMs, countMs, getMs, locateMs }: KeysTimes) =>
    `among ${keys.toLocaleString("en")} keys: page of ${pageLimit} ${ms(pageMs)} (later pages ${ms(deepPageMs)}), counts ${ms(countMs)}, Get ${ms(getMs)}, Locate by x-Identifier ${ms(locateMs)} (medians)`;
  const rate = (seconds: number, of: number) => Math.round(of / seconds).toLocaleString("en");
  return [
    line(few),
    line(many),
    `holdfast dev load: ${rate(loadSeconds, added)} keys/s; Redis memory ${Math.round(bytesPerKey)} bytes a key`,
    `holdfast backup create: ${rate(backup.seconds, many.keys)} keys/s, ${Math.round(backup.bytes / many.keys)} bytes a key`,
    `holdfast backup verify (restore into an empty store, keys opened): ${rate(restoreSeconds, many.keys)} keys/s`,
  ];
}

function ms(value: number): string {
  return `${value.toPrecision(3)} ms`;
}
