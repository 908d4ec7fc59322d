import { setTimeout as sleep } from "node:timers/promises";
import type { AdminClient } from "@holdfast/admin";
import { KmipClient } from "@holdfast/client";
import { answerOf, until } from "@holdfast/testing";
import { adminClient, firstToken } from "../support/admin-api.ts";
import { createKey, keyBytes } from "../support/keys.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { credentialsOf } from "../support/two-regions-clients.ts";
import { allWell } from "../support/vitals.ts";
import { command } from "./keys-at-scale.ts";
import type { Extent } from "./options.ts";
import { median } from "./statistics.ts";

/** A rekey of one instance in two regions, while clients of both get keys and make some. */
export interface RekeyFigures {
  readonly keys: number;
  /** From the order until neither region had a record under the older KEK. */
  readonly seconds: number;
  readonly gets: number;
  /** Gets that did not return the key, except those that say that the node is without its store now. */
  readonly failedGets: number;
  /** Gets that said so, which a machine without enough processors causes: meanwhile, and before the rekey. */
  readonly withoutStore: { readonly before: number; readonly during: number };
  readonly getMs: { readonly before: number; readonly during: number };
  readonly creates: number;
  readonly failedCreates: number;
  /** A rotation of the storage key of one region's store after it: until the older key has ended. */
  readonly storageKey?: {
    readonly seconds: number;
    readonly gets: number;
    readonly failedGets: number;
    readonly failedCreates: number;
    readonly getMs: number;
  };
}

const instance = "bench";
const limitMs = 1_800_000;
const readKeys = 500;
const beforeMs = 10_000;
const restMs = 4;

interface Counts {
  readonly times: number[];
  gets: number;
  failedGets: number;
  withoutStore: number;
  creates: number;
  failedCreates: number;
}

/** Loads keys into region a, waits until b has them, and rekeys; keys are read until both regions are done. */
export async function measureRekey(
  { loadedKeys }: Extent,
  signal: AbortSignal,
): Promise<RekeyFigures> {
  await using opened = new AsyncDisposableStack();
  const both = opened.use(
    await startTwoRegions({ instances: [instance], nodes: 1, replicas: 0, admin: true }),
  );
  await allWell(both);
  const target = { node: both.node("a1"), ca: both.a.ca };
  const admin = opened.use(adminClient(target, await firstToken(target)));
  const config = both.node("a1").configFile;
  const keys = String(loadedKeys);
  const load = ["dev", "load", "--instance", instance, "--keys", keys, "--config", config];
  // On a busy machine the store may be unsafe for a moment when the command opens it.
  const unsafe = (error: unknown): boolean => /may not be used now/.test(String(error));
  await answerOf("keys are loaded", () => command(load, signal), unsafe);
  await until("region b has all of them", () => hasAll(both, loadedKeys), limitMs);
  const clients = await Promise.all(["a1", "b1"].map((node) => clientAt(both, node, opened)));
  const before = newCounts();
  await working(clients, before, (ended) => Promise.race([sleep(beforeMs), ended]), signal);
  const during = newCounts();
  const started = performance.now();
  await admin.call("rekeyInstance", { params: { instance } });
  await working(clients, during, () => done(admin), signal);
  const seconds = (performance.now() - started) / 1_000;
  const rotating = newCounts();
  const begun = performance.now();
  await admin.call("rotateStorageKey", {});
  await working(clients, rotating, () => rotated(admin), signal);
  const { gets, failedGets, failedCreates, times } = rotating;
  return {
    keys: loadedKeys,
    seconds,
    storageKey: {
      ...{ seconds: (performance.now() - begun) / 1_000, gets, failedGets, failedCreates },
      getMs: median(times) ?? 0,
    },
    gets: during.gets,
    failedGets: during.failedGets,
    withoutStore: { before: before.withoutStore, during: during.withoutStore },
    getMs: { before: median(before.times) ?? 0, during: median(during.times) ?? 0 },
    creates: during.creates,
    failedCreates: during.failedCreates,
  };
}

function newCounts(): Counts {
  return { times: [], gets: 0, failedGets: 0, withoutStore: 0, creates: 0, failedCreates: 0 };
}

async function hasAll(both: TwoRegions, keys: number): Promise<true | string> {
  const counts = await Promise.all(
    ["a1", "b1"].map(async (node) => {
      const found = /^holdfast_objects\{[^}]*state="(?:Pre-)?Active"[^}]*\} (\d+)$/gm;
      const metrics = await both.node(node).metrics();
      return [...metrics.matchAll(found)].reduce((sum, [, count]) => sum + Number(count), 0);
    }),
  );
  return counts.every((count) => count >= keys) || counts.join(" and ");
}

async function clientAt(
  both: TwoRegions,
  node: string,
  opened: AsyncDisposableStack,
): Promise<KmipClient> {
  const { host, kmip } = both.node(node);
  const tls = credentialsOf(both, instance);
  return opened.use(
    await KmipClient.connect({ endpoints: [`${host}:${kmip}`], tls, version: "1.4" }),
  );
}

/** Gets keys at both nodes, and makes one from time to time, until `ends` resolves. */
async function working(
  clients: readonly KmipClient[],
  counts: Counts,
  ends: (ended: Promise<unknown>) => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  let going = true;
  const ended = new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  const loops = clients.map(async (client) => {
    const { uniqueIdentifiers } = await client.locate({ attributes: [], maximumItems: readKeys });
    for (let at = 0; going && !signal.aborted; at += 1) {
      const started = performance.now();
      try {
        await keyBytes(client, uniqueIdentifiers[at % uniqueIdentifiers.length] ?? "");
        counts.times.push(performance.now() - started);
      } catch (error) {
        if (/the store does not answer now/.test(String(error))) counts.withoutStore += 1;
        else counts.failedGets += 1;
      }
      counts.gets += 1;
      if (at % 50 === 0) {
        counts.creates += 1;
        await createKey(client).catch(() => {
          counts.failedCreates += 1;
        });
      }
      await sleep(restMs);
    }
  });
  await ends(ended);
  going = false;
  await Promise.all(loops);
}

async function done(admin: AdminClient): Promise<void> {
  await until(
    "both regions are done",
    async () => {
      const { regions } = await admin.call("readInstance", { params: { instance } });
      const left = Object.values(regions).map(({ rekey }) => rekey?.left ?? Number.NaN);
      const ended = Object.values(regions).every(({ rekey }) => rekey?.doneAt !== undefined);
      return ended || left.join(" and ");
    },
    limitMs,
  );
}

async function rotated(admin: AdminClient): Promise<void> {
  await until(
    "the older storage key has ended",
    async () => {
      const { rotation } = await admin.call("readStorageKey", {});
      return rotation === "none" || rotation;
    },
    limitMs,
  );
}

/** The figures in lines for people. */
export function rekeyLines(figures: RekeyFigures): string[] {
  const { keys, seconds, gets, failedGets, withoutStore, getMs, creates, failedCreates } = figures;
  const rate = Math.round(keys / seconds).toLocaleString("en");
  const lines = [
    `rekey of ${keys.toLocaleString("en")} keys in two regions: ${seconds.toFixed(1)} s (${rate} keys/s in each region)`,
    `meanwhile ${gets.toLocaleString("en")} Gets, ${failedGets} failed, ${withoutStore.during} found their node without its store (before: ${withoutStore.before}), median ${getMs.during.toFixed(2)} ms (before ${getMs.before.toFixed(2)} ms); ${creates} Creates, ${failedCreates} failed`,
  ];
  const { storageKey } = figures;
  if (storageKey === undefined) return lines;
  return [
    ...lines,
    `rotation of one region's storage key: ${storageKey.seconds.toFixed(1)} s; meanwhile ${storageKey.gets.toLocaleString("en")} Gets, ${storageKey.failedGets} failed, median ${storageKey.getMs.toFixed(2)} ms; ${storageKey.failedCreates} Creates failed`,
  ];
}
