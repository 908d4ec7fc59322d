import { cpuRatio, type LoadFigures, latencyMs, rateRatio } from "./figures.ts";
import type { KeysFigures } from "./keys-at-scale.ts";
import type { Results } from "./results.ts";
import { scrapeRatio } from "./scrapes.ts";
import { median } from "./statistics.ts";
import type { StoredBytes } from "./stored-bytes.ts";
import type { Transfer } from "./two-regions.ts";

interface Target {
  readonly text: string;
  readonly unit: string;
  /** On this side of the limit, limit included, a figure meets the target. */
  readonly bound: "at most" | "at least";
  readonly limit: number;
  readonly measured: (results: Results) => number | undefined;
}

/** A target and its result; `met` is undefined if nothing was measured. */
export interface Verdict {
  readonly text: string;
  readonly unit: string;
  readonly bound: Target["bound"];
  readonly limit: number;
  readonly measured: number | undefined;
  readonly met: boolean | undefined;
}

/** The figures that Holdfast should reach, compared with servers measured in the same run. */
const targets: readonly Target[] = [
  {
    text: "Get, 32 connections: server CPU of the bare server's",
    unit: "×",
    bound: "at most",
    limit: 2.5,
    measured: (results) => cpuRatio(load(results, "get", 32), "bare"),
  },
  {
    text: "Get, 32 connections: throughput of the bare server's",
    unit: "×",
    bound: "at least",
    limit: 0.35,
    measured: (results) => rateRatio(load(results, "get", 32), "bare"),
  },
  {
    text: "Get, 32 connections: throughput of PyKMIP's",
    unit: "×",
    bound: "at least",
    limit: 50,
    measured: (results) => rateRatio(load(results, "get", 32), "pykmip"),
  },
  {
    text: "new connection, Discover Versions, Get (16 at a time): throughput of the bare server's",
    unit: "×",
    bound: "at least",
    limit: 0.8,
    measured: (results) => rateRatio(load(results, "connect", 16), "bare"),
  },
  {
    text: "durable Create, 64 connections: throughput of PyKMIP's",
    unit: "×",
    bound: "at least",
    limit: 10,
    measured: (results) => rateRatio(load(results, "create", 64), "pykmip"),
  },
  {
    text: "memory of an idle connection",
    unit: "KB",
    bound: "at most",
    limit: 60,
    measured: idleKilobytes,
  },
  {
    text: "Redis memory of an object as Create leaves it, without streams",
    unit: "bytes",
    bound: "at most",
    limit: 1200,
    measured: (results) => bytesOf(results, "created"),
  },
  {
    text: "Redis memory of an object activated and with vCenter's six attributes, without streams",
    unit: "bytes",
    bound: "at most",
    limit: 1200,
    measured: (results) => bytesOf(results, "described"),
  },
  {
    text: "warm npm start to the first answered request",
    unit: "s",
    bound: "at most",
    limit: 5,
    measured: ({ startUp }) => {
      const ms = median(startUp?.npmFirstAnswerMs ?? []);
      return ms === undefined ? undefined : ms / 1000;
    },
  },
  {
    text: "two regions, 0 ms apart: p50 of a Create beyond its own store's barrier",
    unit: "ms",
    bound: "at most",
    limit: 5,
    measured: (results) => beyondBarrierMs(results, 0),
  },
  {
    text: "two regions, 40 ms each way: p50 of a Create beyond one round trip and its own store's barrier",
    unit: "ms",
    bound: "at most",
    limit: 5,
    measured: (results) => beyondBarrierMs(results, 40),
  },
  {
    text: "catch-up of 50,000 objects after a cut of 60 s",
    unit: "s",
    bound: "at most",
    limit: 10,
    measured: ({ twoRegions }) => secondsOf(twoRegions?.catchUp),
  },
  {
    text: "an empty region fills itself with 50,000 objects",
    unit: "s",
    bound: "at most",
    limit: 15,
    measured: ({ twoRegions }) => secondsOf(twoRegions?.refill),
  },
  {
    text: "p99 of a Get beside 50 scrapes a second: of that beside as many scrapes of another process",
    unit: "×",
    bound: "at most",
    limit: 1.1,
    measured: ({ scrapes }) => scrapeRatio(scrapes),
  },
  ...(
    [
      ["a page of keys", "pageMs"],
      ["Get (p50)", "getMs"],
      ["Locate by x-Identifier", "locateMs"],
    ] as const
  ).map(
    ([what, time]): Target => ({
      text: `${what} among many keys (1,000,000): of that among 1,000`,
      unit: "×",
      bound: "at most",
      limit: 1.5,
      measured: ({ keys }) => keysRatio(keys, time),
    }),
  ),
];

/** Only for at least 100,000 keys: fewer say nothing about the target. */
function keysRatio(
  keys: KeysFigures | undefined,
  time: "pageMs" | "getMs" | "locateMs",
): number | undefined {
  if (keys === undefined || keys.many.keys < 100_000) return undefined;
  return keys.many[time] / keys.few[time];
}

/** The time of one client's Create beyond what it must wait for. */
function beyondBarrierMs({ twoRegions }: Results, wanMs: number): number | undefined {
  const found = twoRegions?.creates.find((one) => one.wanMs === wanMs && one.connections === 1);
  const p50Ms = found === undefined ? undefined : latencyMs([found.result], 0.5);
  if (found === undefined || p50Ms === undefined) return undefined;
  // Push and barrier run at the same time, so only the longer wait is needed; the sum is allowed.
  return p50Ms - 2 * wanMs - found.barrierMs;
}

/** Only for a whole transfer: fewer objects say nothing about the target. */
function secondsOf(transfer: Transfer | undefined): number | undefined {
  return transfer === undefined || transfer.objects < 50_000 ? undefined : transfer.seconds;
}

/** Compares a run with every target. */
export function judge(results: Results): Verdict[] {
  return targets.map(({ text, unit, bound, limit, measured: measure }) => {
    const measured = measure(results);
    const met = measured === undefined ? undefined : within(measured, bound, limit);
    return { text, unit, bound, limit, measured, met };
  });
}

function within(measured: number, bound: Target["bound"], limit: number): boolean {
  return bound === "at most" ? measured <= limit : measured >= limit;
}

function load({ loads }: Results, name: string, connections: number): LoadFigures | undefined {
  return loads.find((one) => one.name === name && one.connections === connections);
}

function bytesOf({ storedBytes }: Results, objects: StoredBytes["objects"]): number | undefined {
  const found = storedBytes.find((one) => one.objects === objects);
  return found === undefined ? undefined : found.bytes / found.count;
}

/** In thousands of bytes. */
function idleKilobytes({ idleMemory }: Results): number | undefined {
  const each = idleMemory
    .filter(({ side }) => side === "holdfast")
    .map(({ bytesBefore, bytesAfter, connections }) => (bytesAfter - bytesBefore) / connections);
  const bytes = median(each);
  return bytes === undefined ? undefined : bytes / 1000;
}
