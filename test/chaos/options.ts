import { parseArgs } from "node:util";

/** The options of a run. */
export interface ChaosOptions {
  readonly minutes: number;
  /** Decides which faults are made, where, in which order and for how long. */
  readonly seed: number;
  readonly json: string | undefined;
  /** Delay each way between the regions. */
  readonly wanMs: number;
  readonly workers: number;
  /** Clients that change attributes and search by them, and how long each rests after a request. */
  readonly clients?: number;
  readonly restMs?: number;
  /** Replicas of each region's Redis; 1 unless given. */
  readonly replicas?: number;
  /** Whether the first broken promise ends the run. */
  readonly bail?: boolean;
  /** Only faults of these kinds; empty means all. */
  readonly only: readonly string[];
  /** Where the clients' history is written. */
  readonly history?: string | undefined;
  /** The program of another version, to which nodes change and back (`replace-node`). */
  readonly other: string | undefined;
  /** The run goes on until it made so many steps, and both regions acknowledged so many changes. */
  readonly atLeast?: { readonly steps: number; readonly shared: number };
}

export const usage = `usage: npm run chaos -- [--minutes M] [--seed N] [--json FILE] [--history FILE] [--wan MS] [--workers N] [--clients N] [--rest MS] [--replicas N] [--only KIND[,KIND]] [--bail] [--other FILE]
       npm run chaos -- --check FILE
  --minutes M     how long (default 10)
  --seed N        the same seed makes the same faults in the same order (default 1)
  --json FILE     the report as JSON
  --history FILE  every operation of the clients, as docs/histories.md describes
  --check FILE    runs nothing; decides whether such a history is linearizable
  --wan MS        delay each way between the regions (default 40)
  --workers N     vCenter-like clients at the same time (default 4)
  --clients N     clients at the same time that change attributes and search by them (default 8)
  --rest MS       pause of each of these after a request (default 20); 0 for the highest rate
  --replicas N    replicas of each region's Redis: 1 or 2 (default 1)
  --only KIND     only faults of these kinds
  --bail          ends after the first step that broke a promise
  --other FILE    a bundle of another version, for the kind replace-node`;

/** Whether to check a history instead of a run: the file, if so. Nothing may be asked for besides. */
export function checkedFile(args: readonly string[]): string | undefined {
  if (!args.some((arg) => arg === "--check" || arg.startsWith("--check="))) return undefined;
  const { values } = parseArgs({ args: [...args], options: { check: { type: "string" } } });
  return values.check;
}

/** Reads the command line; throws a `RangeError` or Node's own error with what is wrong with it. */
export function readOptions(args: readonly string[], kinds: readonly string[]): ChaosOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: "string", default: "10" },
      seed: { type: "string", default: "1" },
      json: { type: "string" },
      history: { type: "string" },
      wan: { type: "string", default: "40" },
      workers: { type: "string", default: "4" },
      clients: { type: "string", default: "8" },
      replicas: { type: "string", default: "1" },
      rest: { type: "string", default: "20" },
      only: { type: "string", multiple: true, default: [] },
      bail: { type: "boolean", default: false },
      other: { type: "string" },
    },
  });
  const only = values.only.flatMap((list) => list.split(","));
  const unknown = only.find((kind) => !kinds.includes(kind));
  if (unknown !== undefined) {
    throw new RangeError(`--only: there is no ${unknown}; there are ${kinds.join(", ")}`);
  }
  return {
    minutes: numberOf("--minutes", values.minutes, 0.2, 1440),
    seed: numberOf("--seed", values.seed, 0, 2 ** 32),
    json: values.json,
    history: values.history,
    wanMs: numberOf("--wan", values.wan, 0, 1000),
    workers: numberOf("--workers", values.workers, 1, 64),
    clients: numberOf("--clients", values.clients, 0, 64),
    restMs: numberOf("--rest", values.rest, 0, 10_000),
    replicas: numberOf("--replicas", values.replicas, 1, 2),
    bail: values.bail,
    only,
    other: values.other,
  };
}

/** Reads a number within bounds; throws a `RangeError` that names the option. */
export function numberOf(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text !== "" && value >= min && value <= max) return value;
  throw new RangeError(`${name}: give a number from ${min} to ${max}`);
}
