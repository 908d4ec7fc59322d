import { faultKinds, isSimulated, type PlantedFault } from "../mutants/fault.ts";
import { faults } from "../mutants/faults.ts";
import { mutatedModules } from "../mutants/mechanical/modules.ts";
import {
  explanationOf,
  type ModuleResult,
  readMechanical,
  scoreMin,
  scoreOf,
} from "../mutants/mechanical/report.ts";
import { readResults, resultOf, type Verdict } from "../mutants/results.ts";
import { code, madeFrom, table } from "./markdown.ts";

const heads = [
  "fault",
  "rule that it breaks",
  "found by",
  "seconds",
  "by the simulator alone",
  "by chaos alone",
];

const titles: Readonly<Record<PlantedFault["kind"], string>> = {
  protocol: "Protocol: two regions, one store",
  script: "Scripts: what is atomic in Redis",
  engine: "Engine: what an operation decides",
  duty: "Duties of a leader",
  deletion: "Deletion of an instance, backup and restore",
  access: "Access, evidence, root keys",
};

/** Where each planted fault was found. */
export function mutants(): string {
  const results = readResults();
  const usual = faults.map((fault) => resultOf(fault, results)?.usual);
  const run = usual.filter((verdict) => verdict !== undefined);
  const killed = run.filter(({ result }) => result === "killed").length;
  return [
    "# Planted faults",
    "",
    madeFrom("`test/mutants` and the results in it"),
    "",
    "A test that cannot fail proves nothing. `npm run mutants` plants faults in a copy of the sources, one at a time: a missing check, a wrong order, a wrong comparison. For each, it runs the tests that should find it, the cheapest first: unit tests, the simulator, clusters of real processes. Each command must pass without the fault. A command finds a fault if a test fails or a promise is broken; one that crashes or does not end finds nothing, and the row says how it ended. A fault that no command finds is a gap in the tests; the run then ends with exit code 1.",
    "",
    "<!-- not run: each takes hours, or minutes for one fault -->",
    "```",
    "npm run mutants -- --only time-out-is-no   # one fault",
    "npm run mutants -- --up-to unit            # unit tests only",
    "npm run mutants -- --simulator             # the simulator alone, for at most ten minutes with each fault",
    "npm run mutants -- --chaos                 # chaos alone, with the faults that it should find",
    "```",
    "",
    "The simulator judges by what clients were promised. Some faults take away a rule that another one backs up: no client then sees a broken promise, and the row says why. Unit tests find them. Where few histories have the fault that a rule is about, all of them get it (`--focus`), and the command in the results says so.",
    "",
    "Chaos is run with the faults of the protocol that clients of real processes may see: with each for ten minutes, or until a promise is broken.",
    "",
    "`--report` writes the results to `test/mutants/results.json`. `npm test` checks that each fault still fits the sources, and runs three of them.",
    "",
    `There are ${faults.length} faults. ${counted(killed)} found, ${counted(run.length - killed)} not, and ${counted(faults.length - run.length)} not run. ${aloneText(results)}`,
    "",
    ...faultKinds.flatMap((kind) => {
      const rows = faults.filter((fault) => fault.kind === kind);
      return [
        `## ${titles[kind]}`,
        "",
        table(
          heads,
          rows.map((fault) => rowOf(fault, results)),
        ),
        "",
      ];
    }),
    ...mechanical(),
  ].join("\n");
}

/** How many of the faults that they should find the simulator and chaos have found. */
function aloneText(results: ReturnType<typeof readResults>): string {
  const foundBy = (way: "simulator" | "chaos", asked: readonly PlantedFault[]): string => {
    const found = asked.filter((one) => resultOf(one, results)?.[way]?.result === "killed");
    return `${found.length} of the ${asked.length} faults that it should find`;
  };
  const simulated = foundBy("simulator", faults.filter(isSimulated));
  const inChaos = faults.filter(({ chaosMinutes }) => chaosMinutes !== undefined);
  return `The simulator alone found ${simulated}, and chaos alone ${foundBy("chaos", inChaos)}.`;
}

const counted = (count: number) => `${count} ${count === 1 ? "was" : "were"}`;

const mechanicalHeads = [
  "module",
  "score",
  "mutants",
  "found",
  "tests did not end",
  "texts left out",
  "seconds",
];

/** The mutants that Stryker makes, and each that no test found. */
function mechanical(): readonly string[] {
  const results = readMechanical();
  const rows = mutatedModules.map((module) => {
    const result = results.find((each) => each.module === module.name);
    return [code(module.file), ...scores(result)];
  });
  return [
    "## Mechanical mutants",
    "",
    "Planted faults are those that somebody thought of. For the modules that decide what is kept, what is served and what is destroyed, [Stryker](https://stryker-mutator.io) also changes every expression mechanically: it turns conditions around, empties blocks, swaps operators. It runs the module's own unit tests with each mutant.",
    "",
    "<!-- not run: each takes minutes -->",
    "```",
    "npm run mutants -- --mechanical                # every module below",
    "npm run mutants -- --mechanical --only merge   # one module",
    "```",
    "",
    `The command installs Stryker at an exact version when it runs for the first time. Each module must reach ${scoreMin} %, and each mutant that survives needs an explanation in \`test/mutants/mechanical/survivors.ts\`; otherwise the run ends with exit code 1. \`--report\` writes the results to \`test/mutants/mechanical/results.json\`. Mutants of texts for people are left out: no rule depends on their wording. A mutant with which the tests do not end counts as found.`,
    "",
    table(mechanicalHeads, rows),
    "",
    ...results.flatMap(explained),
  ];
}

function scores(result: ModuleResult | undefined): readonly string[] {
  if (result === undefined) return ["not run", "", "", "", "", ""];
  const { mutants, killed, late, ignored, seconds } = result;
  return [`${scoreOf(result)} %`, ...[mutants, killed, late, ignored, seconds].map(String)];
}

function explained(result: ModuleResult): readonly string[] {
  const { module, left } = result;
  if (left.length === 0) return [];
  const rows = left.map((each) => [
    code(quoted(each.line)),
    code(quoted(each.edit)),
    explanationOf(module, each)?.why ?? "**not explained**",
  ]);
  return [
    `### Survivors in ${module}`,
    "",
    table(["line", "mutant", "why no test can find it"], rows),
    "",
  ];
}

function rowOf(fault: PlantedFault, results: ReturnType<typeof readResults>): readonly string[] {
  const { usual, simulator, chaos } = resultOf(fault, results) ?? {};
  const seconds = usual?.result === "killed" ? String(usual.seconds) : "";
  const unseen = fault.unseen === undefined ? "" : `not seen by clients: ${fault.unseen}`;
  const alone = isSimulated(fault) ? foundBy(simulator) : unseen;
  const inChaos = fault.chaosMinutes === undefined ? "" : foundBy(chaos);
  return [`\`${fault.name}\``, fault.rule, foundBy(usual), seconds, alone, inChaos];
}

function foundBy(verdict: Verdict | undefined): string {
  if (verdict === undefined) return "not run";
  if (verdict.result === "survived") {
    return verdict.passed.length === 0
      ? "**not found**"
      : `**not found** by ${places(verdict.passed)}`;
  }
  if (verdict.result === "crashed") {
    return `**not found**: no verdict from ${places([verdict.command])}: ${plain(verdict.what)}`;
  }
  return `${verdict.place}: ${plain(verdict.what)}`;
}

/** Of the commands that passed, which kinds there were. */
function places(passed: readonly string[]): string {
  const kinds = passed.map((text) => {
    if (text.startsWith("test/cluster/")) return "clusters";
    if (text.startsWith("chaos ")) return text;
    return text.startsWith("simulate ") || text.startsWith("test/simulation/")
      ? "the simulation"
      : "unit tests";
  });
  return [...new Set(kinds)].join(", ");
}

/** A test's title or a message without what Markdown or HTML would read as markup. */
function plain(text: string): string {
  return quoted(text).replaceAll("<", "‹").replaceAll(">", "›").replaceAll("*", "∗");
}

/** Text without backticks, which would end the code that it becomes. */
function quoted(text: string): string {
  return text.replaceAll("`", "'");
}
