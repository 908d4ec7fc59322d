import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KmipClient } from "@holdfast/client";
import { verifyAudit } from "@holdfast/server/audit";
import { machine } from "@holdfast/server/machine";
import { until } from "@holdfast/testing";
import { initLogKey, readLogKey } from "../../packages/server/src/audit/log/log-key.ts";
import { HttpWitness } from "../support/http-witness.ts";
import { createKey } from "../support/keys.ts";
import { startRegion } from "../support/region.ts";
import type { Extent } from "./options.ts";
import { median } from "./statistics.ts";

/** How long events wait until a witness has cosigned them, in the steady state. */
export interface WitnessedFigures {
  readonly keys: number;
  /** One for each look at the trail: from then until everything that was there was cosigned. */
  readonly seconds: readonly number[];
}

const instance = "bench";
const everyMs = 200;
const limitMs = 120_000;

interface Look {
  readonly atMs: number;
  readonly entries: number;
  readonly witnessed: number;
}

/** Makes a key after every fifth of a second in a region whose log one witness cosigns, and looks at the trail each time. */
export async function measureWitnessed({ lagMs }: Extent, signal: AbortSignal) {
  await using opened = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "holdfast-witnessed-"));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  const logKey = { keyFile: join(folder, "log.pem"), name: "log.example/a" };
  initLogKey(logKey);
  const witness = opened.use(await HttpWitness.start("w1", readLogKey(logKey).key));
  const settings = { audit: { log: { ...logKey, witnesses: [witness.settings] } } };
  const region = opened.use(
    await startRegion({ instances: [instance], nodes: 1, lockMasters: 1, settings }),
  );
  const config = region.node(0).configFile;
  const look = async (): Promise<Look> => {
    const { lines } = await verifyAudit({ config, files: [] }, machine);
    const [, entries, open] =
      / (\d+) entries, .* (\d+) not witnessed yet/.exec(lines.at(-1) ?? "") ?? [];
    const count = Number(entries);
    return { atMs: performance.now(), entries: count, witnessed: count - Number(open) };
  };
  const { host, port, ca, certificate, key } = region.target(instance);
  const tls = { ca, certificate, key };
  const endpoints = [`${host}:${port}`];
  const client = opened.use(await KmipClient.connect({ endpoints, tls, version: "1.4" }));
  await createKey(client);
  await until("the first events are cosigned", async () => (await look()).witnessed > 0, limitMs);
  const looks: Look[] = [];
  let keys = 0;
  for (const endMs = performance.now() + lagMs; performance.now() < endMs; keys += 1) {
    if (signal.aborted) throw new Error("ended before it was done");
    await createKey(client);
    looks.push(await look());
    await sleep(everyMs);
  }
  const { entries: all = 0 } = looks.at(-1) ?? {};
  await until(
    "all of them are cosigned",
    async () => {
      looks.push(await look());
      return (looks.at(-1)?.witnessed ?? 0) >= all;
    },
    limitMs,
  );
  const seconds = looks.slice(0, keys).map(({ atMs, entries }) => {
    const after = looks.find(({ witnessed }) => witnessed >= entries);
    return ((after?.atMs ?? Number.POSITIVE_INFINITY) - atMs) / 1_000;
  });
  return { keys, seconds } satisfies WitnessedFigures;
}

/** The figures in a line for people. */
export function witnessedLine({ keys, seconds }: WitnessedFigures): string {
  const [middle, most] = [median(seconds) ?? 0, Math.max(...seconds)];
  return `events of ${keys} keys were cosigned by a witness ${middle.toFixed(1)} s after they were written (median), ${most.toFixed(1)} s at most`;
}
