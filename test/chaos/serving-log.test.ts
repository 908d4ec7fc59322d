import { appendFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ServingLog } from "./serving-log.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "serving-log-"));
});
afterAll(() => rm(folder, { recursive: true }));

const wallMs = Math.round(performance.timeOrigin);

/** A node's log that grows; times are after a round moment of the wall clock. */
function logOf(node: string) {
  const file = join(folder, `${node}.log`);
  const log = new ServingLog(new Map([[node, file]]));
  const zeroMs = wallMs - performance.timeOrigin;
  const line = (atMs: number, msg: string, fields: object): string =>
    `${JSON.stringify({ level: "info", time: new Date(wallMs + atMs).toISOString(), node, ...fields, msg })}\n`;
  const write = (text: string): void => {
    appendFileSync(file, text);
    log.read();
  };
  return {
    log,
    write,
    lease: (atMs: number, state: string) => write(line(atMs, "store lease", { state, reason: "" })),
    serving: (from: string, reason: string, atMs: number) =>
      line(atMs, "clients are served from", { from, writes: true, reason }),
    during: (fromMs: number, toMs: number) => log.during(node, zeroMs + fromMs, zeroMs + toMs),
    levels: () =>
      log.levels.map(({ atMs, sinceMs }) => [
        Math.round(atMs - zeroMs),
        Math.round(sinceMs - zeroMs),
      ]),
  };
}

test("knows how a node served all of a time, and nothing of a time in which that changed", () => {
  const { during, lease, serving, write } = logOf("a1");
  expect(during(1_000, 1_010)).toBeUndefined();
  lease(900, "full");
  write(serving("local", "own store", 1_000));
  const remote = serving("remote", "no lease on the own store: another region serves", 2_000);
  write(remote.slice(0, 40));
  expect(during(1_990, 2_100)).toBe("own");
  write(remote.slice(40));
  write(serving("local", "own store, not level yet: no other region can serve", 3_000));
  write(serving("local", "own store for reads only: its barrier is short, and …", 4_000));
  write(serving("none", "no lease on the own store, and no other region in reach", 5_000));
  const asked: [number, number][] = [
    [500, 900],
    [1_100, 1_900],
    [1_900, 2_100],
    [2_100, 2_900],
    [3_100, 3_900],
    [4_100, 4_900],
    [5_100, 9_000],
    [2_100, 4_100],
  ];
  const services = asked.map(([fromMs, toMs]) => during(fromMs, toMs));
  const all = [undefined, "own", undefined, "remote", "through", "own", "none", undefined];
  expect(services).toEqual(all);
});

test("a store has everything once a node uses it again: what was acknowledged before its lease began", () => {
  const { during, lease, levels, log, serving, write } = logOf("b2");
  const level = (atMs: number) => write(serving("local", "own store", atMs));
  lease(100, "full");
  level(200);
  lease(1_000, "none");
  lease(1_500, "full");
  lease(1_600, "full");
  level(2_000);
  log.died("b2", 3_000);
  expect(during(2_100, 2_400)).toBe("own");
  expect(during(2_600, 3_000)).toBe("none");
  level(8_000);
  expect(levels()).toEqual([
    [205, 95],
    [2_005, 1_495],
    [8_005, 7_995],
  ]);
});
