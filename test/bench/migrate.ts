import { setTimeout as sleep } from "node:timers/promises";
import { createKey, keyBytes } from "../support/keys.ts";
import { clientOf } from "../support/load.ts";
import { Migrating } from "../support/migrating.ts";
import { type Region, startRegion } from "../support/region.ts";
import { command } from "./keys-at-scale.ts";
import type { Extent } from "./options.ts";
import { median } from "./statistics.ts";

/** How long a move of many keys takes, and what clients of the target notice. */
export interface MigrateFigures {
  readonly keys: number;
  readonly planSeconds: number;
  readonly runSeconds: number;
  readonly verifySeconds: number;
  /** A second run, which finds everything in the report. */
  readonly againSeconds: number;
  /** Gets at the target during the run: how many, how many failed, and their median in milliseconds. */
  readonly gets: number;
  readonly failedGets: number;
  readonly getMs: number;
}

const instance = "bench";
const limitMs = 6 * 3_600_000;
const restMs = 20;

/** Moves keys from one region to another one that knows nothing of it, by the commands. */
export async function measureMigrate({ movedKeys }: Extent, signal: AbortSignal) {
  await using opened = new AsyncDisposableStack();
  const start = async (name: string, admin: boolean) =>
    opened.use(await startRegion({ name, instances: [instance], nodes: 1, replicas: 0, admin }));
  const source = await start("b", false);
  const target = await start("a", true);
  const load = ["dev", "load", "--instance", instance, "--keys", `${movedKeys}`];
  await command([...load, "--config", source.node(0).configFile], signal);
  const migrating = opened.use(await Migrating.at(target, limitMs));
  const from = migrating.side("source", source.target(instance));
  const to = migrating.side("target", target.target(instance));
  const plan = ["plan", "plan", "--instance", instance, ...from];
  const planSeconds = await seconds(() => migrating.site(...plan));
  const gets = await GetsAt.start(target);
  const runSeconds = await seconds(() => migrating.site("run", "plan", ...from));
  const { count, failed, getMs } = await gets.end();
  const againSeconds = await seconds(() => migrating.site("run", "plan", ...from));
  const verifySeconds = await seconds(() => migrating.run("verify", "plan", ...from, ...to));
  const figures: MigrateFigures = {
    ...{ keys: movedKeys, planSeconds, runSeconds, againSeconds, verifySeconds },
    ...{ gets: count, failedGets: failed, getMs },
  };
  return figures;
}

/** A client of the target that gets one key again and again. */
class GetsAt {
  readonly #times: number[] = [];
  readonly #ended: Promise<void>;
  #failed = 0;
  #going = true;

  private constructor(work: (gets: GetsAt) => Promise<void>) {
    this.#ended = work(this);
  }

  static async start(region: Region): Promise<GetsAt> {
    const client = await clientOf(region, instance, 0);
    const id = await createKey(client);
    return new GetsAt(async (gets) => {
      await gets.#repeat(() => keyBytes(client, id));
      await client.close();
    });
  }

  async #repeat(get: () => Promise<unknown>): Promise<void> {
    while (this.#going) {
      const started = performance.now();
      try {
        await get();
        this.#times.push(performance.now() - started);
      } catch {
        this.#failed += 1;
      }
      await sleep(restMs);
    }
  }

  async end() {
    this.#going = false;
    await this.#ended;
    const times = this.#times;
    const getMs = median(times) ?? Number.NaN;
    return { count: times.length + this.#failed, failed: this.#failed, getMs };
  }
}

async function seconds(
  work: () => Promise<{ readonly code: number | null; readonly out: string; readonly err: string }>,
): Promise<number> {
  const started = performance.now();
  const { code, err, out } = await work();
  if (code !== 0) throw new Error(`holdfast migrate: exit ${code}: ${err || out}`);
  return (performance.now() - started) / 1000;
}

/** The figures in lines for people. */
export function migrateLines(figures: MigrateFigures): string[] {
  const { keys, planSeconds, runSeconds, verifySeconds, againSeconds, gets, failedGets, getMs } =
    figures;
  const part = (seconds: number) =>
    `${seconds.toFixed(1)} s (${Math.round(keys / seconds).toLocaleString("en")} keys/s)`;
  return [
    `holdfast migrate of ${keys.toLocaleString("en")} keys: plan ${part(planSeconds)}, run ${part(runSeconds)}, verify ${part(verifySeconds)}; a second run ${againSeconds.toFixed(1)} s`,
    `meanwhile ${gets.toLocaleString("en")} Gets at the target, ${failedGets} failed, median ${getMs.toFixed(2)} ms`,
  ];
}
