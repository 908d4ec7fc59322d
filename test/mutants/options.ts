import { parseArgs } from "node:util";
import { numberOf } from "../chaos/options.ts";
import { type FaultKind, faultKinds } from "./fault.ts";
import { type KillerChoice, type Place, places } from "./killers.ts";
import { mutatedModules } from "./mechanical/modules.ts";

/** The options of `npm run mutants`. */
export interface MutantOptions extends KillerChoice {
  /** Only faults with these names; empty means all. */
  readonly only: readonly string[];
  /** Only faults of these kinds; empty means all. */
  readonly kinds: readonly FaultKind[];
  /** How many faults are run at the same time, each in a copy of its own. */
  readonly jobs: number;
  /** Whether the results are written to the file that docs/mutants.md is made from. */
  readonly report: boolean;
}

/** The options of `npm run mutants -- --mechanical`. */
export interface MechanicalOptions {
  /** Only these modules; empty means all. */
  readonly only: readonly string[];
  readonly jobs: number;
  readonly report: boolean;
}

export const usage = `usage: npm run mutants -- [--only NAME[,NAME]] [--kind KIND[,KIND]] [--up-to PLACE] [--seed N] [--jobs N] [--report]
       npm run mutants -- --simulator [--minutes M] [--only NAME] [--kind KIND] [--seed N] [--jobs N] [--report]
       npm run mutants -- --chaos [--only NAME] [--kind KIND] [--seed N] [--report]
       npm run mutants -- --mechanical [--only MODULE] [--jobs N] [--report]
  --only NAME     only these faults
  --kind KIND     only faults of these kinds: ${faultKinds.join(", ")}
  --up-to PLACE   use no costlier commands than: ${places.join(", ")} (default cluster)
  --simulator     only the simulator, with each fault that it should find
  --chaos         only chaos, with each fault that it should find within some minutes
  --minutes M     how long it runs with each at most (default 10)
  --mechanical    mutants that Stryker makes of: ${mutatedModules.map(({ name }) => name).join(", ")}
  --seed N        the first seed of simulator and chaos (default 1)
  --jobs N        so many faults or mutants at the same time (default 1)
  --report        write the results to a file in test/mutants; \`npm run docs\` then makes docs/mutants.md`;

/** Reads the command line; throws a `RangeError` or Node's own error with what is wrong with it. */
export function readOptions(args: readonly string[], names: readonly string[]): MutantOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", multiple: true, default: [] },
      kind: { type: "string", multiple: true, default: [] },
      "up-to": { type: "string" },
      simulator: { type: "boolean", default: false },
      chaos: { type: "boolean", default: false },
      minutes: { type: "string" },
      seed: { type: "string", default: "1" },
      jobs: { type: "string", default: "1" },
      report: { type: "boolean", default: false },
    },
  });
  const { simulator, chaos, minutes } = values;
  if (minutes !== undefined && !simulator) throw new RangeError("--minutes belongs to --simulator");
  if (values["up-to"] !== undefined && simulator) {
    throw new RangeError("--simulator uses only the simulator: leave out --up-to");
  }
  if (chaos && (simulator || values["up-to"] !== undefined || values.jobs !== "1")) {
    throw new RangeError(
      "--chaos uses only chaos, one run at a time: leave out --simulator, --up-to and --jobs",
    );
  }
  return {
    only: chosen("--only", values.only, names),
    kinds: chosen("--kind", values.kind, faultKinds),
    upTo: chosen<Place>("--up-to", [values["up-to"] ?? "cluster"], places)[0] ?? "cluster",
    simulatorMinutes: simulator ? numberOf("--minutes", minutes ?? "10", 0.1, 1440) : undefined,
    isChaos: chaos,
    seed: whole("--seed", values.seed, 0, 2 ** 32),
    jobs: whole("--jobs", values.jobs, 1, 16),
    report: values.report,
  };
}

/** Reads a command line with `--mechanical`; undefined for one without. */
export function readMechanicalOptions(args: readonly string[]): MechanicalOptions | undefined {
  if (!args.includes("--mechanical")) return undefined;
  const { values } = parseArgs({
    args: [...args],
    options: {
      mechanical: { type: "boolean" },
      only: { type: "string", multiple: true, default: [] },
      jobs: { type: "string", default: "1" },
      report: { type: "boolean", default: false },
    },
  });
  const names = mutatedModules.map(({ name }) => name);
  return {
    only: chosen("--only", values.only, names),
    jobs: whole("--jobs", values.jobs, 1, 16),
    report: values.report,
  };
}

/** The names of some lists; throws for one that is not known. */
function chosen<Name extends string>(
  option: string,
  lists: readonly string[],
  known: readonly Name[],
): readonly Name[] {
  return lists
    .flatMap((list) => list.split(","))
    .map((text) => {
      const found = known.find((name) => name === text);
      if (found !== undefined) return found;
      throw new RangeError(`${option}: there is no ${text}; there are ${known.join(", ")}`);
    });
}

function whole(name: string, text: string, min: number, max: number): number {
  const value = numberOf(name, text, min, max);
  if (Number.isInteger(value)) return value;
  throw new RangeError(`${name}: give a whole number`);
}
