import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import type { RegionName } from "../support/two-regions.ts";
import { Clients, type Endpoint } from "./clients.ts";
import { Gaps, longest, longestByFault, type Made } from "./gaps.ts";
import { History } from "./history.ts";
import { checkedFile, readOptions } from "./options.ts";
import { type FaultKind, faultKinds, planOf, type Step } from "./plan.ts";
import { type ChaosReport, countViolations, faultsOf, unprovenOf } from "./report.ts";
import { Sharing } from "./sharing.ts";

const kinds = Object.keys(faultKinds) as FaultKind[];

describe("plan", () => {
  const steps = (seed: number, count: number): Step[] => {
    const plan = planOf(seed, kinds);
    return Array.from({ length: count }, () => plan.next().value);
  };

  test("has the same faults for the same seed, and others for another seed", () => {
    expect(steps(7, 40)).toEqual(steps(7, 40));
    expect(steps(7, 40)).not.toEqual(steps(8, 40));
  });

  test("has each kind with a bounded gap alone within five steps, and every kind later", () => {
    const single = (some: Step[]) =>
      some.flatMap(({ faults }) => (faults.length === 1 ? faults.map(({ kind }) => kind) : []));
    for (let seed = 0; seed < 50; seed++) {
      expect(single(steps(seed, 5))).toEqual(
        expect.arrayContaining(["kill-node", "kill-redis", "kill-region"]),
      );
      expect(new Set(single(steps(seed, 40)))).toEqual(new Set(kinds));
    }
  });

  test("has each combination of kinds that can be made, and mixtures where none can", () => {
    const named = (some: readonly Step[]) =>
      new Set(some.map(({ faults }) => faults.map(({ kind }) => kind).join()));
    const all = named(steps(1, 30));
    for (const kind of ["kill-redis,cut", "kill-redis,kill-redis", "cut,stale-replica"]) {
      expect(all).toContain(kind);
    }
    const plan = planOf(1, ["kill-node", "freeze-node"]);
    const few = named(Array.from({ length: 40 }, () => plan.next().value));
    expect(few).toContain("kill-node,freeze-node");
  });

  test("never has a lost store or disk together with another fault", () => {
    const alone: readonly FaultKind[] = ["flush", "lose-disk", "change-members"];
    for (const { faults } of steps(3, 300)) {
      if (faults.some(({ kind }) => alone.includes(kind))) expect(faults).toHaveLength(1);
    }
  });
});

test("clients do not all wait for an endpoint that does not answer", async () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket));
  await once(silent.listen(0, "127.0.0.1"), "listening");
  const { port } = silent.address() as AddressInfo;
  const endpoints = ["a1", "b1", "a2", "b2"].map((node) => {
    const target = { host: "127.0.0.1", port, ca: "", certificate: "", key: "" };
    return { node, region: node.slice(0, 1) as RegionName, target };
  });
  const patience = { connectTimeoutMs: 60_000, requestTimeoutMs: 60_000 };
  const clients = new Clients(endpoints, new History(), patience);
  const [first] = endpoints as [Endpoint];
  const ask = () => clients.steady("Get", first, async () => undefined);
  const asked = [ask(), ask()];
  const nodes = (turns: number, count?: number) =>
    new Set(Array.from({ length: turns }, () => clients.next(count).node));
  expect(nodes(8, 4)).toEqual(new Set(["b1", "a2", "b2"]));
  expect(nodes(8)).toEqual(new Set(["a1", "b1", "a2", "b2"]));
  silent.close();
  for (const socket of sockets) socket.destroy();
  await Promise.all(asked);
  expect(nodes(8, 4).has("a1")).toBe(true);
});

describe("gaps", () => {
  test("are the times in which a client gets no answer, not those in which it rests", () => {
    const gaps = new Gaps();
    gaps.rests("w", 0);
    gaps.succeeded("w", "write", 50);
    gaps.succeeded("w", "write", 900);
    gaps.rests("w", 5_000);
    gaps.succeeded("w", "write", 5_010);
    gaps.rests("r", 0);
    gaps.ended(new Map([["r", "read"]]), 700);
    expect(longest(gaps.all)).toEqual({ writeMs: 850, readMs: 700 });
  });

  test("belong to a fault that was made alone", () => {
    const made = (kind: string, single: boolean, fromMs: number, recoveredMs: number): Made => ({
      kind,
      single,
      fromMs,
      recoveredMs,
    });
    const faults = [made("kill-node", true, 100, 200), made("cut", false, 1_000, 2_000)];
    const gap = (fromMs: number, toMs: number) => ({ kind: "read" as const, fromMs, toMs });
    const gaps = [gap(50, 150), gap(190, 500), gap(600, 950), gap(1_100, 1_900)];
    expect(longestByFault(gaps, faults)).toEqual({ "kill-node": { writeMs: 0, readMs: 310 } });
  });
});

describe("changes are certainly shared", () => {
  const look = (sharing: Sharing, node: string, atMs: number, alone: number) =>
    sharing.looked(node, atMs, { atMs: atMs + 5, alone });

  test("only between samples with the same count at every node", () => {
    const sharing = new Sharing(["a1", "b1"], 0);
    for (const atMs of [100, 200, 300]) look(sharing, "a1", atMs, atMs > 200 ? 1 : 0);
    for (const atMs of [150, 290]) look(sharing, "b1", atMs, 0);
    expect(sharing.certain(20, 90)).toBe(true);
    expect(sharing.certain(20, 199)).toBe(true);
    expect(sharing.certain(150, 250)).toBe(false);
    expect(sharing.certain(280, 310)).toBe(false);
    expect(sharing.aloneRecords).toBe(1);
  });

  test("while a process is dead, but not in the last moments before its death", () => {
    const sharing = new Sharing(["a1"], 0);
    look(sharing, "a1", 100, 0);
    sharing.died("a1", 150);
    look(sharing, "a1", 400, 0);
    expect(sharing.certain(110, 120)).toBe(false);
    expect(sharing.certain(160, 390)).toBe(true);
  });

  test("not if a restarted process, which counts from 0 again, reports alone records", () => {
    const sharing = new Sharing(["a1"], 0);
    look(sharing, "a1", 100, 5);
    sharing.died("a1", 150);
    look(sharing, "a1", 400, 5);
    expect(sharing.certain(160, 390)).toBe(false);
    expect(sharing.aloneRecords).toBe(10);
  });
});

describe("verdict", () => {
  const good: ChaosReport = {
    format: 1,
    seed: 1,
    minutes: 1,
    wanMs: 0,
    steps: 1,
    faults: { "kill-node": 1 },
    idle: {},
    notAvailable: {},
    objects: 1,
    operations: { "Create Success": 1, "Create timeout": 200 },
    acknowledgedShared: 1,
    acknowledgedAlone: 0,
    linearizability: { objects: 1, operations: 1 },
    aloneRecords: 0,
    violations: countViolations([]),
    violationTexts: [],
    longestGap: { writeMs: 9_000, readMs: 9_000 },
    longestGapByFault: {
      "kill-node": { writeMs: 1_000, readMs: 10 },
      cut: { writeMs: 9_000, readMs: 0 },
    },
    recoveryMs: {},
    stallMs: 0,
    loadAverage: 0,
  };

  test.each<[string, Partial<ChaosReport>, RegExp | undefined]>([
    ["good", {}, undefined],
    [
      "one violation",
      { violations: countViolations([{ kind: "missing", text: "" }]) },
      /^missing: 1$/,
    ],
    [
      "a gap",
      { longestGapByFault: { "kill-region": { writeMs: 0, readMs: 3_001 } } },
      /^gap of 3001 ms for kill -9 of everything of a region/,
    ],
  ])("is right: %s", (_, change, expected) => {
    const faults = faultsOf({ ...good, ...change });
    if (expected === undefined) expect(faults).toEqual([]);
    else expect(faults).toEqual([expect.stringMatching(expected)]);
  });

  test.each<[string, Partial<ChaosReport>, RegExp | undefined]>([
    ["good", {}, undefined],
    ["nothing done", { acknowledgedShared: 0 }, /^nothing was acknowledged/],
    ["no fault made", { faults: {} }, /^no fault took effect$/],
    [
      "a fault without effect",
      { idle: { failover: 2 } },
      /^this fault never took effect: SENTINEL FAIL/,
    ],
    ["a fault with an effect once", { idle: { "kill-node": 2 } }, undefined],
    [
      "an operation that never gets a result",
      { operations: { "Create Success": 1, "Get timeout": 6, "Get lost": 6 } },
      /^none of 12 × Get got a result$/,
    ],
    [
      "one that is refused, as it must be",
      { operations: { "Create Success": 1, "ModifyAttribute AttributeNotFound": 12 } },
      undefined,
    ],
    ["few tries of it", { operations: { "Create Success": 1, "Get timeout": 6 } }, undefined],
    [
      "minutes without a success",
      { longestGap: { writeMs: 0, readMs: 240_000 } },
      /^a client had no success for 240000 ms$/,
    ],
  ])("a run says what it does not prove: %s", (_, change, expected) => {
    const unproven = unprovenOf({ ...good, ...change });
    expect(unproven).toEqual(expected === undefined ? [] : [expect.stringMatching(expected)]);
  });
});

test.each([
  [["--minutes", "x"], /--minutes/],
  [["--only", "cut,earthquake"], /no earthquake/],
  [["--seed", "-1"], /seed/],
  [["--fast"], /fast/],
  [["--check", "a", "--seed", "1"], /--seed/],
  [["--check"], /--check/],
])("the command line refuses %j", (args, expected) => {
  expect(() => checkedFile(args) ?? readOptions(args, kinds)).toThrow(expected);
});
