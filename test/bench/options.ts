import { parseArgs } from "node:util";

/** What can be measured, in this order; these are the names for `--only`. */
const parts = [
  "get",
  "create",
  "connect",
  "new-key",
  "idle-memory",
  "stored-bytes",
  "start-up",
  "regions-create",
  "regions-lag",
  "regions-catch-up",
  "regions-refill",
  "keys",
  "rekey",
  "moves",
  "migrate",
  "witnessed",
  "roots",
  "admin",
  "scrapes",
] as const;

export type Part = (typeof parts)[number];

/** How much is measured. */
export interface Extent {
  readonly rounds: number;
  /** The warm-up for each kind of load and side, for the compiler. */
  readonly warmUpMs: number;
  /** The warm-up at the start of each round. */
  readonly warmMs: number;
  readonly measureMs: number;
  readonly idleConnections: number;
  readonly idleRounds: number;
  readonly storedObjects: number;
  readonly starts: number;
  /** How many objects the other region lacks after a cut, or if it is empty. */
  readonly replicatedObjects: number;
  readonly cutMs: number;
  readonly lagMs: number;
  /** The number of keys in one instance. */
  readonly loadedKeys: number;
  /** The number of keys that are moved from one region to another one. */
  readonly movedKeys: number;
  /** How long a key manager is down. */
  readonly rootOutMs: number;
  /** How many keys are made while root keys rotate. */
  readonly rootCreations: number;
  /** The number of keys in the instance for calls of the management API. */
  readonly adminKeys: number;
}

export interface Options {
  readonly json: string | undefined;
  readonly only: ReadonlySet<Part>;
  readonly profile: string | undefined;
  readonly quick: boolean;
  readonly extent: Extent;
}

const full: Extent = {
  rounds: 5,
  warmUpMs: 5000,
  warmMs: 500,
  measureMs: 2000,
  idleConnections: 5000,
  idleRounds: 2,
  storedObjects: 20_000,
  starts: 3,
  replicatedObjects: 50_000,
  cutMs: 60_000,
  lagMs: 20_000,
  loadedKeys: 1_000_000,
  movedKeys: 100_000,
  rootOutMs: 60_000,
  rootCreations: 1_000,
  adminKeys: 20_000,
};
const quick: Extent = {
  rounds: 1,
  warmUpMs: 500,
  warmMs: 300,
  measureMs: 700,
  idleConnections: 500,
  idleRounds: 1,
  storedObjects: 2000,
  starts: 1,
  replicatedObjects: 2000,
  cutMs: 5000,
  lagMs: 3000,
  loadedKeys: 5000,
  movedKeys: 2000,
  rootOutMs: 5_000,
  rootCreations: 100,
  adminKeys: 2_000,
};

export const usage = `usage: npm run bench -- [--json FILE] [--only NAME[,NAME]] [--keys NUMBER] [--quick] [--profile DIR]
  --json FILE     raw figures, versions and machine as JSON
  --only NAME     ${parts.join(", ")}
  --keys NUMBER   how many the parts keys, rekey and moves load (1,000,000 unless given), and migrate moves (100,000)
  --quick         short rounds, to see that everything works; its figures are rough
  --profile DIR   instead of measuring, a processor profile of a node under Get load`;

/** Reads the command line; throws a `RangeError` or Node's own error with what is wrong with it. */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: "string" },
      keys: { type: "string" },
      only: { type: "string", multiple: true },
      profile: { type: "string" },
      quick: { type: "boolean", default: false },
    },
  });
  const only = (values.only ?? []).flatMap((list) => list.split(","));
  const isPart = (name: string): name is Part => parts.some((part) => part === name);
  const unknown = only.find((name) => !isPart(name));
  if (unknown !== undefined) throw new RangeError(`--only: there is no ${unknown}`);
  return {
    json: values.json,
    only: new Set(only.length === 0 ? parts : only.filter(isPart)),
    profile: values.profile,
    quick: values.quick,
    extent: extentOf(values.quick ? quick : full, values.keys),
  };
}

function extentOf(extent: Extent, keys: string | undefined): Extent {
  if (keys === undefined) return extent;
  const loadedKeys = Number(keys);
  if (!Number.isSafeInteger(loadedKeys) || loadedKeys < 2_000) {
    throw new RangeError("--keys: give a number of at least 2000");
  }
  return { ...extent, loadedKeys, movedKeys: loadedKeys };
}
