import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError, type KmipClient, KmipClientError } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { createKey, look } from "../support/keys.ts";
import { type RootRegions, startRootRegions } from "../support/root-regions.ts";
import { ClientsOfAll } from "../support/two-regions-clients.ts";
import { allWell } from "../support/vitals.ts";
import type { Extent } from "./options.ts";

/** The answers to Gets during some time, in the region with the faulty root of trust. */
interface GetFigures {
  readonly when: "before" | "during" | "after";
  readonly count: number;
  /** Reason → how often. */
  readonly refused: Readonly<Record<string, number>>;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** One fault of a root of trust. */
interface RootFault {
  readonly what: string;
  readonly gets: readonly GetFigures[];
  /** The time until every node of the region refused, and (`openMs`) until all answered again. */
  readonly closedMs?: number;
  readonly openMs?: number;
}

/** The result of a rotation while keys were made. */
interface RotationFigures {
  readonly creations: number;
  readonly lost: number;
  /** The time until no KEK was under the old version. */
  readonly rewrappedMs: number;
}

/** The cost of faults of roots of trust. */
export interface RootsFigures {
  readonly faults: readonly RootFault[];
  readonly rotation: RotationFigures;
}

const instance = "bench";
const times = { kekCacheMs: 10_000, graceMs: 600_000, revalidateMs: 5_000, deadlineMs: 2_000 };
const restMs = 4;
const nodes = ["a1", "a2"] as const;

interface Stage {
  readonly roots: RootRegions;
  readonly clients: ClientsOfAll;
  readonly keys: readonly string[];
  readonly signal: AbortSignal;
}

/** Measures Gets in region a while its stand-in of Key Protect fails; region b is under HPCS. */
export async function measureRoots(
  { rootOutMs, rootCreations }: Extent,
  signal: AbortSignal,
): Promise<RootsFigures> {
  await using roots = await startRootRegions([instance], times);
  await using clients = await ClientsOfAll.open(roots.both, instance);
  await allWell(roots.both);
  const keys = await Promise.all(Array.from({ length: 20 }, () => createKey(clients.at("a1"))));
  const stage: Stage = { roots, clients, keys, signal };
  const { a } = roots.managers;
  const key = roots.rootKeys.a;
  const shortMs = Math.min(rootOutMs, 10_000);
  const faults = [
    await goesOn(stage, `key manager down ${rootOutMs / 1000} s`, rootOutMs, {
      begin: () => a.kill(),
      end: () => a.start(),
    }),
    await goesOn(stage, "key manager answers after 1 s", shortMs, {
      begin: () => a.switch({ delayMs: 1_000 }),
      end: () => a.heal(),
    }),
    await closes(stage, "key manager answers 401", {
      begin: () => a.switch({ status: 401 }),
      end: () => a.heal(),
    }),
    await closes(stage, "root key disabled, then enabled", {
      begin: () => a.change(key, "disable"),
      end: () => a.change(key, "enable"),
    }),
    await closes(stage, "root key deleted and revalidated, then restored", {
      begin: async () => {
        await a.change(key, "delete");
        await roots.admin("a1").call("revalidateRoot", { params: { instance } });
      },
      end: () => a.change(key, "restore"),
    }),
  ];
  return { faults, rotation: await rotation(stage, rootCreations) };
}

interface Trouble {
  readonly begin: () => Promise<unknown>;
  readonly end: () => Promise<unknown>;
}

async function goesOn(
  stage: Stage,
  what: string,
  duringMs: number,
  { begin, end }: Trouble,
): Promise<RootFault> {
  const quietMs = Math.min(duringMs, 5_000);
  const before = await gets(stage, "before", quietMs);
  await begin();
  const during = await gets(stage, "during", duringMs);
  await end();
  const after = await gets(stage, "after", quietMs);
  return { what, gets: [before, during, after] };
}

async function closes(stage: Stage, what: string, { begin, end }: Trouble): Promise<RootFault> {
  const before = await gets(stage, "before", 2_000);
  const beganMs = performance.now();
  await begin();
  await answers(stage, false);
  const closedMs = performance.now() - beganMs;
  const during = await gets(stage, "during", 2_000);
  const endedMs = performance.now();
  await end();
  await answers(stage, true);
  const openMs = performance.now() - endedMs;
  const after = await gets(stage, "after", 2_000);
  return { what, gets: [before, during, after], closedMs, openMs };
}

/** Sends Gets to both nodes of region a, one after another at each. */
async function gets(
  { clients, keys, signal }: Stage,
  when: GetFigures["when"],
  forMs: number,
): Promise<GetFigures> {
  const tookMs: number[] = [];
  const refused: Record<string, number> = {};
  const endMs = performance.now() + forMs;
  await Promise.all(
    nodes.map(async (node) => {
      for (let at = 0; performance.now() < endMs; at += 1) {
        signal.throwIfAborted();
        const askedMs = performance.now();
        const answer = await get(clients.at(node), keys[at % keys.length] ?? "");
        if (answer === "Success") tookMs.push(performance.now() - askedMs);
        else refused[answer] = (refused[answer] ?? 0) + 1;
        await sleep(restMs);
      }
    }),
  );
  const sorted = tookMs.toSorted((one, other) => one - other);
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
  const [p50Ms, p99Ms] = [at(0.5), at(0.99)];
  return { when, count: tookMs.length, refused, p50Ms, p99Ms };
}

async function get(client: KmipClient, id: string): Promise<string> {
  try {
    const { key } = await look(client, id);
    return key.status === "Success" ? "Success" : (key.reason ?? "none");
  } catch (error) {
    if (error instanceof ConnectionError) return "no connection";
    throw error;
  }
}

async function answers({ clients, keys }: Stage, open: boolean): Promise<void> {
  const [key = ""] = keys;
  for (const node of nodes) {
    const same = async () => ((await get(clients.at(node), key)) === "Success") === open;
    await until(`${node} ${open ? "opens" : "refuses"}`, same, 60_000);
  }
}

/** Rotates the root keys: no acknowledged key may be lost while all KEKs get a new version. */
async function rotation(
  { roots, clients, signal }: Stage,
  creations: number,
): Promise<RotationFigures> {
  const all = ["a1", "a2", "b1", "b2"] as const;
  const made: string[] = [];
  const make = async (node: (typeof all)[number]): Promise<void> => {
    while (made.length < creations) {
      signal.throwIfAborted();
      const id = await createKey(clients.at(node)).catch((error: unknown) => {
        if (error instanceof ConnectionError || error instanceof KmipClientError) return undefined;
        throw error;
      });
      // A key that was not acknowledged may exist, but does not count.
      if (id === undefined) await sleep(restMs);
      else made.push(id);
    }
  };
  const { a, b } = roots.managers;
  const rotate = async (): Promise<number> => {
    await until("some are made", () => made.length > creations / 10, 60_000);
    const { items: old } = await roots.admin("a1").call("reportRoots", {});
    const before = old.map(({ currentVersion }) => currentVersion);
    const beganMs = performance.now();
    await Promise.all([a.change(roots.rootKeys.a, "rotate"), b.change(roots.rootKeys.b, "rotate")]);
    await until(
      "every KEK is under the new version",
      async () => {
        const { items } = await roots.admin("a1").call("reportRoots", {});
        // All KEKs are under one version, which is not the old one.
        return items.every(
          ({ stale, versions }) =>
            stale === 0 && Object.keys(versions).every((version) => !before.includes(version)),
        );
      },
      60_000,
    );
    return performance.now() - beganMs;
  };
  const [rewrappedMs] = await Promise.all([rotate(), ...all.map(make)]);
  const found = await Promise.all(
    made.map(async (id, at) => get(clients.at(all[at % all.length] ?? "a1"), id)),
  );
  return {
    creations: made.length,
    lost: found.filter((answer) => answer !== "Success").length,
    rewrappedMs,
  };
}

/** The figures as lines of text. */
export function rootsLines({ faults, rotation }: RootsFigures): readonly string[] {
  const { creations, lost, rewrappedMs } = rotation;
  return [
    "roots of trust (two nodes of the region in trouble; Gets p50 / p99 in ms)",
    ...faults.map(({ what, gets: all, closedMs, openMs }) => {
      const rows = all.map(({ when, count, refused, p50Ms, p99Ms }) => {
        const refusals = Object.entries(refused).map(([reason, times]) => `${times} ${reason}`);
        const answered = count === 0 ? "none" : `${p50Ms.toFixed(1)} / ${p99Ms.toFixed(1)}`;
        return `${when} ${answered} (${[`${count} answered`, ...refusals].join(", ")})`;
      });
      const closed = closedMs === undefined ? [] : [`closed after ${Math.round(closedMs)} ms`];
      const open = openMs === undefined ? [] : [`open after ${Math.round(openMs)} ms`];
      return `  ${what}: ${[...rows, ...closed, ...open].join("; ")}`;
    }),
    `  rotation of both root keys while ${creations} keys are made: ${lost} lost, all KEKs re-wrapped after ${Math.round(rewrappedMs)} ms`,
  ];
}
