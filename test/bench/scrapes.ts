import { Agent, request } from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { cpuUs, latencyMs } from "./figures.ts";
import { HelperProcess } from "./helper-process.ts";
import type { LoadGenerator } from "./load-generator.ts";
import type { LoadPlan, LoadResult } from "./load-plan.ts";
import type { LoadSide } from "./load-rows.ts";
import type { Extent } from "./options.ts";
import type { TextAnswer, TextRequest } from "./text-server.ts";

/** KMIP Get, in turn alone, during many scrapes, and during as many scrapes of another process. */
export interface ScrapeFigures {
  readonly before: readonly LoadResult[];
  readonly beside: readonly LoadResult[];
  /** What the scraper itself costs on this machine: it scrapes a process that sends a fixed text of the same size. */
  readonly control: readonly LoadResult[];
  /** The number of answered scrapes, and the bytes of one. */
  readonly scrapes: number;
  readonly bytes: number;
}

const scrapesPerSecond = 50;
const getsPerSecond = 400;
const connections = 16;
const agent = new Agent({ keepAlive: true, maxSockets: 8 });

/** Measures the first node at a fixed rate of Gets. `http` is its address for metrics. */
export async function measureScrapes(
  side: LoadSide,
  http: { readonly host: string; readonly port: number },
  generator: LoadGenerator,
  extent: Extent,
): Promise<ScrapeFigures> {
  const plan: LoadPlan = {
    connections,
    targets: side.targets,
    persistent: true,
    operations: side.gets.map((message) => [[message]]),
    warmMs: extent.warmMs,
    measureMs: extent.measureMs,
    ratePerSecond: getsPerSecond,
    pids: side.pids(),
  };
  await generator.load({ ...plan, measureMs: extent.warmUpMs });
  const [before, beside, control]: [LoadResult[], LoadResult[], LoadResult[]] = [[], [], []];
  const bytes = await scrape(http);
  let scrapes = 0;
  await using text = new HelperProcess<TextRequest, TextAnswer>("text-server.ts");
  const other = { host: "127.0.0.1", ...(await text.ask({ bytes })) };
  for (let round = 0; round < 2 * extent.rounds; round++) {
    before.push(await generator.load(plan));
    for (const [target, results] of [
      [http, beside],
      [other, control],
    ] as const) {
      const ending = new AbortController();
      const storm = scrapeAll(target, ending.signal);
      results.push(await generator.load(plan));
      ending.abort();
      scrapes += (await storm).length;
    }
  }
  agent.destroy();
  return { before, beside, control, scrapes: scrapes / 2, bytes };
}

/** Scrapes at a fixed rate until it is stopped; returns the size of each answer in bytes. */
async function scrapeAll(
  http: { readonly host: string; readonly port: number },
  signal: AbortSignal,
): Promise<readonly number[]> {
  const bytes: number[] = [];
  const asked: Promise<void>[] = [];
  let nextMs = performance.now();
  while (!signal.aborted) {
    asked.push(scrape(http).then((length) => void bytes.push(length)));
    nextMs += 1000 / scrapesPerSecond;
    await sleep(Math.max(0, nextMs - performance.now()));
  }
  await Promise.all(asked);
  return bytes;
}

function scrape(http: { readonly host: string; readonly port: number }): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request({ ...http, path: "/metrics", agent }, (response) => {
      text(response).then((body) => resolve(Buffer.byteLength(body)), reject);
    });
    asked.on("error", reject).end();
  });
}

/** How much slower Gets are during scrapes of this node than during scrapes of another process, by their p99. */
export function scrapeRatio(figures: ScrapeFigures | undefined): number | undefined {
  const p99 = (rounds: readonly LoadResult[] | undefined) => latencyMs(rounds, 0.99);
  const [control, beside] = [p99(figures?.control), p99(figures?.beside)];
  return control === undefined || beside === undefined ? undefined : beside / control;
}

export function scrapeLines({ before, beside, control, scrapes, bytes }: ScrapeFigures): string[] {
  const line = (rounds: readonly LoadResult[]) => {
    const [p50, p99] = [0.5, 0.99].map((share) => (latencyMs(rounds, share) ?? 0).toFixed(2));
    return `p50 ${p50} ms, p99 ${p99} ms, CPU ${Math.round(cpuUs(rounds, "server") ?? 0)} µs a Get`;
  };
  return [
    `Get at ${getsPerSecond}/s: ${line(before)}`,
    `beside ${scrapesPerSecond} scrapes a second (${scrapes} of ${(bytes / 1000).toFixed(0)} KB): ${line(beside)}`,
    `beside as many scrapes of another process: ${line(control)}`,
  ];
}
