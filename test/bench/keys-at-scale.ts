import { spawn } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { AdminClient } from "@holdfast/admin";
import type { KmipClient } from "@holdfast/client";
import { vendorItem, vendorKey, vendorTags } from "@holdfast/engine";
import { until } from "@holdfast/testing";
import { textString } from "@holdfast/ttlv";
import { adminClient, firstToken } from "../support/admin-api.ts";
import { clientOf } from "../support/load.ts";
import type { RedisServer } from "../support/redis.ts";
import { layRegion, type Region } from "../support/region.ts";
import { ConsolePage } from "./console-page.ts";
import type { Extent } from "./options.ts";
import { median } from "./statistics.ts";

/** The time of each operation with so many keys in the instance; medians in milliseconds. */
interface KeysTimes {
  readonly keys: number;
  readonly pageMs: number;
  readonly deepPageMs: number;
  readonly countMs: number;
  readonly getMs: number;
  readonly locateMs: number;
  /** The first page of keys in the web console, from the address to the first row; NaN without Chromium. */
  readonly consoleMs: number;
}

/** The cost of many keys. */
export interface KeysFigures {
  readonly few: KeysTimes;
  readonly many: KeysTimes;
  readonly loadSeconds: number;
  /** Redis memory for records and indexes. */
  readonly bytesPerKey: number;
  readonly backup: { readonly seconds: number; readonly bytes: number };
  /** The restore drill: a backup is read and restored into an empty store, and keys are opened. */
  readonly restoreSeconds: number;
}

const instance = "bench";
const fewKeys = 1_000;
const pageLimit = 100;
const rounds = 300;
const pageRounds = 60;
const consoleRounds = 15;
const entry = join(import.meta.dirname, "../../packages/cli/src/main.ts");

/**
 * Loads many keys with `holdfast dev load` into one region and few into another, and lets both do the same in turn, so
 * that other work of the machine affects both.
 */
export async function measureKeys(
  { loadedKeys }: Extent,
  signal: AbortSignal,
): Promise<KeysFigures> {
  await using opened = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "holdfast-bench-keys-"));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  const few = opened.use(await KeysSide.start(folder, fewKeys, signal));
  const many = opened.use(await KeysSide.start(folder, loadedKeys, signal));
  await few.load(fewKeys);
  await many.load(fewKeys);
  const { primary } = many.region.redis;
  const before = await usedBytes(primary);
  const added = loadedKeys - fewKeys;
  const loadSeconds = secondsIn(await many.load(added));
  const bytesPerKey = ((await usedBytes(primary)) - before) / added;
  await until(
    "Redis has rewritten its log",
    async () => (await primary.info("aof_rewrite_in_progress")) === "0",
    600_000,
  );
  const [fewTimes, manyTimes] = await timesOf(few, many);
  const file = join(folder, "bench.backup");
  const backupSeconds = secondsIn(await many.run("backup", "create", file));
  const { size: bytes } = await stat(file);
  const restoreSeconds = await seconds(() => many.run("backup", "verify", file, "--keys", "100"));
  return {
    few: fewTimes,
    many: manyTimes,
    loadSeconds,
    bytesPerKey,
    backup: { seconds: backupSeconds, bytes },
    restoreSeconds,
  };
}

/** A region with so many keys, and its clients. */
class KeysSide implements AsyncDisposable {
  readonly keys: number;
  readonly region: Region;
  readonly #admin: AdminClient;
  readonly #kmip: KmipClient;
  readonly #console: ConsolePage | undefined;
  readonly #signal: AbortSignal;
  #next: string | undefined;
  #located: string[] = [];

  private constructor(
    keys: number,
    region: Region,
    clients: {
      readonly admin: AdminClient;
      readonly kmip: KmipClient;
      readonly console: ConsolePage | undefined;
    },
    signal: AbortSignal,
  ) {
    this.keys = keys;
    this.region = region;
    this.#admin = clients.admin;
    this.#kmip = clients.kmip;
    this.#console = clients.console;
    this.#signal = signal;
  }

  static async start(folder: string, keys: number, signal: AbortSignal): Promise<KeysSide> {
    await using opened = new AsyncDisposableStack();
    const region = opened.use(await layKeys(join(folder, `key-${keys}.json`)));
    await command(["backup", "key", "init", "--config", region.node(0).configFile], signal);
    await Promise.all(region.nodes.map((node) => node.start()));
    const target = { node: region.node(0), ca: region.ca };
    const token = await firstToken(target);
    const admin = opened.use(adminClient(target, token));
    const kmip = opened.use(await clientOf(region, instance, 0));
    const console = opened.use(await ConsolePage.open(target.node, token, instance));
    opened.move();
    return new KeysSide(keys, region, { admin, kmip, console }, signal);
  }

  run(...args: readonly string[]): Promise<string> {
    return command([...args, "--config", this.region.node(0).configFile], this.#signal);
  }

  load(keys: number): Promise<string> {
    return this.run("dev", "load", "--instance", instance, "--keys", String(keys));
  }

  async page(): Promise<void> {
    this.#next ??= (await this.#page(undefined)).next;
    await this.#page(undefined);
  }

  async laterPage(): Promise<void> {
    this.#next = (await this.#page(this.#next)).next;
  }

  async count(): Promise<void> {
    await this.#admin.call("countKeys", { params: { instance } });
  }

  async locate(): Promise<void> {
    // The numbers start at 0 with each load.
    const number = Math.floor(Math.random() * (this.keys - fewKeys || this.keys));
    const attributes = [{ item: called(number) }];
    const { uniqueIdentifiers } = await this.#kmip.locate({ attributes, maximumItems: 1 });
    const [id] = uniqueIdentifiers;
    if (id === undefined) throw new Error(`Locate did not find load-${number}`);
    this.#located.push(id);
  }

  async consolePage(): Promise<void> {
    await this.#console?.show();
  }

  async get(): Promise<void> {
    const id = this.#located.shift() ?? "";
    this.#located.push(id);
    await this.#kmip.get({ uniqueIdentifier: id });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#console?.[Symbol.asyncDispose]();
    await this.#admin[Symbol.asyncDispose]();
    await this.#kmip[Symbol.asyncDispose]();
    await this.region[Symbol.asyncDispose]();
  }

  #page(cursor: string | undefined) {
    return this.#admin.call("listKeys", {
      params: { instance },
      query: { limit: pageLimit, ...(cursor !== undefined && { cursor }) },
    });
  }
}

/** A region without replicas: their barrier is measured elsewhere. */
function layKeys(keyFile: string): Promise<Region> {
  return layRegion({
    instances: [instance],
    nodes: 1,
    replicas: 0,
    admin: true,
    settings: { log: { level: "info" }, backup: { keyFile } },
  });
}

async function timesOf(...sides: readonly KeysSide[]): Promise<[KeysTimes, KeysTimes]> {
  const measured = [
    await medians(pageRounds, sides, (side) => side.page()),
    await medians(pageRounds, sides, (side) => side.laterPage()),
    await medians(pageRounds, sides, (side) => side.count()),
    await medians(rounds, sides, (side) => side.locate()),
    await medians(rounds, sides, (side) => side.get()),
    await medians(consoleRounds, sides, (side) => side.consolePage()),
  ];
  const [few, many] = sides.map(({ keys }, at) => {
    const [pageMs, deepPageMs, countMs, locateMs, getMs, consoleMs] = measured.map(
      (each) => each[at] ?? Number.NaN,
    ) as [number, number, number, number, number, number];
    return { keys, pageMs, deepPageMs, countMs, locateMs, getMs, consoleMs };
  });
  if (few === undefined || many === undefined) throw new Error("two sides are compared");
  return [few, many];
}

/** Measures both sides in turn, and ignores the first third. */
async function medians(
  count: number,
  sides: readonly KeysSide[],
  work: (side: KeysSide) => Promise<void>,
): Promise<readonly number[]> {
  const warm = Math.ceil(count / 3);
  const times = sides.map((): number[] => []);
  for (let round = 0; round < warm + count; round++) {
    for (const [at, side] of sides.entries()) {
      const started = performance.now();
      await work(side);
      if (round >= warm) times[at]?.push(performance.now() - started);
    }
  }
  return times.map((each) => median(each) ?? Number.NaN);
}

function called(number: number) {
  const value = textString(vendorTags.AttributeValue, `load-${number}`);
  return vendorItem({ key: vendorKey("x", "Identifier"), value });
}

/** The duration that a command prints, without the start of its process. */
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

/** Runs one of the server's commands without a time limit. */
export async function command(args: readonly string[], signal: AbortSignal): Promise<string> {
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
  const line = ({ keys, pageMs, deepPageMs, countMs, getMs, locateMs, consoleMs }: KeysTimes) =>
    `among ${keys.toLocaleString("en")} keys: page of ${pageLimit} ${ms(pageMs)} (later pages ${ms(deepPageMs)}), counts ${ms(countMs)}, Get ${ms(getMs)}, Locate by x-Identifier ${ms(locateMs)}, first page in the console ${ms(consoleMs)} (medians)`;
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
