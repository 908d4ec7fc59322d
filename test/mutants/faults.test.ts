import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { fingerprintOf, isSimulated, type PlantedFault, planted } from "./fault.ts";
import { faults } from "./faults.ts";
import { killersOf } from "./killers.ts";
import { readMechanicalOptions, readOptions } from "./options.ts";
import { readResults, resultOf } from "./results.ts";

const root = join(import.meta.dirname, "..", "..");
const names = faults.map(({ name }) => name);

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

/** The promises of docs/guarantees.md: the first column of its tables, without that of the operations. */
function promises(): readonly string[] {
  const text = read("docs/guarantees.md").replace(
    /## Consistency of each operation[\s\S]*?\n## /,
    "## ",
  );
  const rows = [...text.matchAll(/^\| (.+?) \|/gm)].map(([, first = ""]) => first);
  return rows.filter((first) => first !== "promise");
}

test("each fault has its own name, and its text occurs once in the source", () => {
  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
  const sources = new Map<string, string>();
  const wrong = faults.flatMap((fault) => {
    const source = sources.get(fault.file) ?? read(fault.file);
    sources.set(fault.file, source);
    try {
      return planted(source, fault) === source ? [`${fault.name}: it changes nothing`] : [];
    } catch (error) {
      return [(error as Error).message];
    }
  });
  expect(wrong).toEqual([]);
});

test("each fault has something that should find it, and its test files exist", () => {
  const wrong = faults.flatMap(({ name, tests }) =>
    tests.filter((file) => !existsSync(join(root, file))).map((file) => `${name}: ${file}`),
  );
  expect(wrong).toEqual([]);
  const idle = faults.filter(
    (fault) => killersOf(fault, { upTo: "cluster", seed: 1 }).length === 0,
  );
  expect(idle).toEqual([]);
});

test("each promise of docs/guarantees.md is broken by a fault, and each fault names promises that exist", () => {
  const all = promises();
  const broken = faults.flatMap((fault) => fault.promises ?? []);
  expect(all.filter((promise) => !broken.some((words) => promise.startsWith(words)))).toEqual([]);
  expect(broken.filter((words) => !all.some((promise) => promise.startsWith(words)))).toEqual([]);
});

test("results of a changed edit, or of a fault that is gone, do not count", () => {
  const [fault] = faults as readonly [PlantedFault];
  const survived = { result: "survived", passed: [], seconds: 1 } as const;
  const result = { name: fault.name, edit: fingerprintOf(fault), usual: survived };
  expect(resultOf(fault, [result])).toBe(result);
  expect(resultOf({ ...fault, replace: "other" }, [result])).toBeUndefined();
  expect(readResults().filter(({ name }) => !names.includes(name))).toEqual([]);
});

test("commands are used from the cheapest to the costliest, up to a place", () => {
  const fault: PlantedFault = {
    name: "one",
    kind: "protocol",
    file: "a.ts",
    find: "a",
    replace: "b",
    rule: "",
    tests: ["packages/a.test.ts", "test/simulation/b.test.ts", "test/cluster/c.test.ts"],
    chaosMinutes: 10,
  };
  const texts = (choice: Parameters<typeof killersOf>[1]) =>
    killersOf(fault, choice).map(({ text }) => text);
  expect(texts({ upTo: "chaos", seed: 7 })).toEqual([
    "packages/a.test.ts",
    "test/simulation/b.test.ts",
    "simulate --histories 400 --seed 7",
    "test/cluster/c.test.ts",
    "chaos --minutes 10 --seed 7 --bail",
  ]);
  expect(texts({ upTo: "unit", seed: 7 })).toEqual(["packages/a.test.ts"]);
  expect(texts({ upTo: "unit", seed: 7, simulatorMinutes: 10 })).toEqual(["simulate --seed 7"]);
  const focused = { ...fault, focus: "clock jump" };
  const [killer] = killersOf(focused, { upTo: "unit", seed: 7, simulatorMinutes: 10 });
  expect(killer?.text).toBe('simulate --seed 7 --focus "clock jump"');
  expect(killer?.args).toContain("clock jump");
  expect(texts({ upTo: "cluster", seed: 7, isChaos: true })).toEqual([
    "chaos --minutes 10 --seed 7 --bail",
  ]);
  expect(isSimulated({ ...fault, kind: "access" })).toBe(false);
});

test("the command line says which faults, how far, and whether to write the results", () => {
  expect(readOptions([], names)).toEqual({
    only: [],
    kinds: [],
    upTo: "cluster",
    simulatorMinutes: undefined,
    isChaos: false,
    seed: 1,
    jobs: 1,
    report: false,
  });
  const asked = [
    "--kind",
    "duty,script",
    "--simulator",
    "--minutes",
    "2",
    "--jobs",
    "3",
    "--report",
  ];
  expect(readOptions(asked, names)).toEqual({
    only: [],
    kinds: ["duty", "script"],
    upTo: "cluster",
    simulatorMinutes: 2,
    isChaos: false,
    seed: 1,
    jobs: 3,
    report: true,
  });
});

test("the command line of mechanical mutants says which modules", () => {
  expect(readMechanicalOptions(["--only", "merge"])).toBeUndefined();
  const asked = ["--mechanical", "--only", "merge,join", "--jobs", "2", "--report"];
  expect(readMechanicalOptions(asked)).toEqual({ only: ["merge", "join"], jobs: 2, report: true });
});

test.each<[string, readonly string[], RegExp]>([
  ["an unknown module", ["--mechanical", "--only", "no"], /^--only: there is no no; there are l/],
  ["a kind of mechanical mutants", ["--mechanical", "--kind", "duty"], /^Unknown option '--kind'/],
  ["an unknown fault", ["--only", "none"], /^--only: there is no none; there are time-out-is-no, /],
  ["an unknown kind", ["--kind", "all"], /^--kind: there is no all; there are protocol, /],
  ["an unknown place", ["--up-to", "moon"], /^--up-to: there is no moon; there are unit, /],
  ["minutes without the simulator", ["--minutes", "3"], /^--minutes belongs to --simulator$/],
  ["a place for the simulator", ["--simulator", "--up-to", "unit"], /^--simulator uses only/],
  ["two jobs for chaos", ["--chaos", "--jobs", "2"], /^--chaos uses only chaos, one run at a time/],
  ["half a job", ["--jobs", "1.5"], /^--jobs: give a whole number$/],
  ["too many jobs", ["--jobs", "99"], /^--jobs: give a number from 1 to 16$/],
  ["an unknown option", ["--all"], /^Unknown option '--all'/],
])("%s is refused with one line", (_what, args, message) => {
  expect(() => readMechanicalOptions(args) ?? readOptions(args, names)).toThrow(message);
});
