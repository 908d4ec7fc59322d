import { adminLines } from "./admin-routes.ts";
import { cpuUs, failures, type LoadFigures, latencyMs, loadCpuUs, rate } from "./figures.ts";
import { keysLines } from "./keys-at-scale.ts";
import type { Machine } from "./machine.ts";
import { migrateLines } from "./migrate.ts";
import { movesLines } from "./moves.ts";
import { rekeyLines } from "./rekey.ts";
import type { Results } from "./results.ts";
import { rootsLines } from "./roots.ts";
import { scrapeLines } from "./scrapes.ts";
import type { Side } from "./sides.ts";
import { median } from "./statistics.ts";
import type { Verdict } from "./targets.ts";
import type { TwoRegionsFigures } from "./two-regions.ts";
import { witnessedLine } from "./witnessed.ts";

const sideNames = ["holdfast", "bare", "pykmip"] as const;

/** The machine in one line. */
export function machineLine(machine: Machine): string {
  const { processor, cores, memoryBytes, kernel, node, openssl, redis, pykmip } = machine;
  const memory = `${Math.round(memoryBytes / 2 ** 30)} GiB`;
  const versions = `Node ${node}, OpenSSL ${openssl}, Redis ${redis}, PyKMIP ${pykmip ?? "none"}`;
  return `${processor}, ${cores} cores, ${memory}, Linux ${kernel}; ${versions}`;
}

/** One measured load, with a line for each side. */
export function loadLines(figures: LoadFigures): string[] {
  return sideNames.flatMap((side) => {
    const cells = loadCells(figures, side);
    return cells === undefined ? [] : [row(cells, loadWidths)];
  });
}

/** The heading for `loadLines`. */
export function loadHead(): string {
  const cells = [
    ...["", "server", "op/s", "p50 ms", "p99 ms"],
    ...["CPU µs", "Redis µs", "client µs", "failed"],
  ];
  return row(cells, loadWidths);
}

const loadWidths = [-44, -8, 9, 9, 9, 9, 9, 9, 7];

function loadCells(figures: LoadFigures, side: Side["name"]): string[] | undefined {
  const rounds = figures.sides[side];
  if (rounds === undefined) return undefined;
  return [
    `${figures.title} (${figures.connections})`,
    side,
    number(rate(rounds)),
    number(latencyMs(rounds, 0.5)),
    number(latencyMs(rounds, 0.99)),
    number(cpuUs(rounds, "server")),
    number(cpuUs(rounds, "redis")),
    number(loadCpuUs(rounds)),
    number(failures(rounds)),
  ];
}

/** Memory, stored bytes and starts. */
export function otherLines(results: Results): string[] {
  const { idleMemory, storedBytes, startUp, twoRegions, keys, rekey, roots, admin, scrapes } =
    results;
  const lines: string[] = [];
  for (const { side, connections, bytesBefore, bytesAfter } of idleMemory) {
    const each = (bytesAfter - bytesBefore) / connections / 1000;
    const total = `${number(bytesBefore / 1e6)} → ${number(bytesAfter / 1e6)} MB`;
    lines.push(
      `memory, ${connections} idle connections, ${side}: ${number(each)} KB each (${total})`,
    );
  }
  for (const { title, count, bytes, streamBytes } of storedBytes) {
    const streams = `${number(streamBytes / count)} bytes of audit stream apart`;
    lines.push(`object ${title}: ${number(bytes / count)} bytes (${count} objects; ${streams})`);
  }
  if (startUp !== undefined) {
    const seconds = (ms: readonly number[]) => `${number((median(ms) ?? 0) / 1000)} s`;
    lines.push(
      `warm npm start: first request answered after ${seconds(startUp.npmFirstAnswerMs)}, ready after ${seconds(startUp.npmReadyMs)}`,
      ...Object.entries(startUp.nodes).map(([form, { firstAnswerMs, idleBytes }]) => {
        const megabytes = number((median(idleBytes) ?? 0) / 1e6);
        return `a node's process from ${form}: first request answered after ${seconds(firstAnswerMs)}, idle ${megabytes} MB`;
      }),
    );
  }
  if (twoRegions !== undefined) lines.push(...regionLines(twoRegions));
  if (keys !== undefined) lines.push(...keysLines(keys));
  if (rekey !== undefined) lines.push(...rekeyLines(rekey));
  if (results.moves !== undefined) lines.push(...movesLines(results.moves));
  if (results.migrate !== undefined) lines.push(...migrateLines(results.migrate));
  if (results.witnessed !== undefined) lines.push(witnessedLine(results.witnessed));
  if (roots !== undefined) lines.push(...rootsLines(roots));
  if (admin !== undefined) lines.push(...adminLines(admin));
  if (scrapes !== undefined) lines.push(...scrapeLines(scrapes));
  return lines;
}

/** The cost of two regions, and how fast they catch up. */
function regionLines({ creates, lag, catchUp, refill }: TwoRegionsFigures): string[] {
  const lines = creates.map(({ wanMs, connections, result, barrierMs, shared, alone }) => {
    const where = wanMs === undefined ? "a region alone" : `two regions, ${wanMs} ms each way`;
    const latency = `p50 ${number(latencyMs([result], 0.5))} ms, p99 ${number(latencyMs([result], 0.99))} ms`;
    const cpu = `CPU ${number(cpuUs([result], "server"))} µs`;
    const told = `and ${number(cpuUs([result], "peer"))} µs in the other region; ${number(shared)} shared, ${number(alone)} alone`;
    const rest = wanMs === undefined ? "" : ` ${told}`;
    return `Create (${connections}), ${where}: ${number(rate([result]))}/s, ${latency}, barrier ${number(barrierMs)} ms, ${cpu}${rest}; ${number(failures([result]))} failed`;
  });
  if (lag !== undefined) {
    lines.push(
      `replication lag at ${number(lag.perSecond)} creates/s: p50 ${number(lag.p50Ms)} ms, p99 ${number(lag.p99Ms)} ms after the acknowledgement (${lag.samples} looked at, ${lag.alone} acknowledged alone)`,
    );
  }
  for (const [what, transfer] of [
    ["catch-up after a cut", catchUp],
    ["an empty region fills itself", refill],
  ] as const) {
    if (transfer === undefined) continue;
    lines.push(`${what}: ${number(transfer.objects)} objects in ${number(transfer.seconds)} s`);
  }
  return lines;
}

/** Every target and whether it was met. */
export function verdictLines(verdicts: readonly Verdict[]): string[] {
  return verdicts.map(({ text, unit, bound, limit, measured, met }) => {
    const verdict = met === undefined ? "not measured" : met ? "met" : "MISSED";
    const value = measured === undefined ? "–" : `${number(measured)} ${unit}`;
    return row([text, `${bound} ${limit} ${unit}`, value, verdict], [-88, -20, -12, -12]);
  });
}

/** Three significant digits, or all digits of a larger number. */
function number(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en");
  return value === 0 ? "0" : String(Number(value.toPrecision(3)));
}

/** A row of a table; a negative width means a left-aligned column. */
function row(cells: readonly string[], widths: readonly number[]): string {
  const padded = cells.map((cell, at) => {
    const width = widths[at] ?? 0;
    return width < 0 ? cell.padEnd(-width) : cell.padStart(width);
  });
  return padded.join(" ").trimEnd();
}
