import { isSimulated, type PlantedFault } from "./fault.ts";

/** What can find a fault, the cheapest first. */
export const places = ["unit", "simulation", "simulator", "cluster", "chaos"] as const;
export type Place = (typeof places)[number];

/** One command that should fail when a fault is planted. */
export interface Killer {
  readonly place: Place;
  /** Names it in reports; the same command has the same text. */
  readonly text: string;
  /** Arguments of Node, relative to the root of the copy. */
  readonly args: readonly string[];
  /** A test file, whose report is read. */
  readonly file?: string;
}

/** Which killers are used. */
export interface KillerChoice {
  /** The costliest place that is used. */
  readonly upTo: Place;
  readonly seed: number;
  /** Only the simulator, for so long at most. */
  readonly simulatorMinutes?: number | undefined;
  /** Only chaos, with the faults that it should find. */
  readonly isChaos?: boolean;
}

/** A unit test that takes longer hangs: with this, the report names it. */
const unitTestMs = 60_000;
/** Histories of a normal run of the simulator. */
const histories = 400;
/** More than any machine can run in the time that is given. */
const endless = 10_000_000;

/** The killers of a fault, in the order in which they are run. */
export function killersOf(fault: PlantedFault, choice: KillerChoice): readonly Killer[] {
  const { isChaos, seed, simulatorMinutes, upTo } = choice;
  const { chaosMinutes, focus } = fault;
  if (simulatorMinutes !== undefined) {
    return isSimulated(fault) ? [simulator(endless, seed, focus)] : [];
  }
  const inChaos = chaosMinutes === undefined ? [] : [chaos(chaosMinutes, seed)];
  if (isChaos === true) return inChaos;
  const tests = fault.tests.map(testFile);
  const all = [
    ...tests.filter(({ place }) => place !== "cluster"),
    ...(isSimulated(fault) ? [simulator(histories, seed)] : []),
    ...tests.filter(({ place }) => place === "cluster"),
    ...inChaos,
  ];
  return all.filter(({ place }) => places.indexOf(place) <= places.indexOf(upTo));
}

/** A test file as a killer. */
export function testFile(file: string): Killer {
  const folder = /^test\/(simulation|cluster)\//.exec(file)?.[1];
  const place = folder === "simulation" || folder === "cluster" ? folder : "unit";
  const limits =
    place === "unit" ? [`--testTimeout=${unitTestMs}`, `--hookTimeout=${unitTestMs}`] : [];
  const vitest = ["node_modules/vitest/vitest.mjs", "run", "--project", place, "--bail=1"];
  return { place, text: file, args: [...vitest, ...limits, file], file };
}

function simulator(count: number, seed: number, focus?: string): Killer {
  const focused = focus === undefined ? [] : ["--focus", focus];
  const asked = ["--histories", String(count), "--seed", String(seed), ...focused];
  const told = count === endless ? ["--seed", String(seed), ...focused] : asked;
  const words = told.map((one) => (one.includes(" ") ? `"${one}"` : one));
  const text = ["simulate", ...words].join(" ");
  return { place: "simulator", text, args: ["test/simulation/main.ts", ...asked] };
}

function chaos(minutes: number, seed: number): Killer {
  const asked = ["--minutes", String(minutes), "--seed", String(seed), "--bail"];
  return {
    place: "chaos",
    text: `chaos ${asked.join(" ")}`,
    args: ["test/chaos/main.ts", ...asked],
  };
}
