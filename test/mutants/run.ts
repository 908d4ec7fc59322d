import { WorkingCopy } from "./copy.ts";
import type { PlantedFault } from "./fault.ts";
import { type KillerOutcome, runKiller } from "./kill.ts";
import { type Killer, type KillerChoice, killersOf, testFile } from "./killers.ts";
import type { Verdict } from "./results.ts";

/** What a run needs. */
export interface MutantRun extends KillerChoice {
  /** The working tree that is copied. */
  readonly root: string;
  readonly jobs: number;
  readonly say: (line: string) => void;
  /** Called after each fault with all verdicts so far. */
  readonly judged?: (verdicts: MutantReport["verdicts"]) => void;
  readonly stopping?: AbortSignal | undefined;
}

/** What a run found. */
export interface MutantReport {
  readonly verdicts: ReadonlyMap<string, Verdict>;
  /** Faults that could not be judged, and why: one line each. */
  readonly unjudged: readonly string[];
}

/** Commands may take ten times as long with a fault as without, but at least this long. */
const limitLeastMs = 120_000;
/** How long a command may take without a fault. */
const soundLimitMs = 1_800_000;

/** A fault that every test of another package must find, if the copy's own files run. */
const control: PlantedFault = {
  name: "control",
  kind: "engine",
  file: "packages/engine/src/index.ts",
  find: "export { allAttributes } from",
  replace: 'throw new Error("planted in the copy");\nexport { allAttributes } from',
  rule: "tests run the files of the copy",
  tests: ["packages/regions/src/peer/reserve-bounds.test.ts"],
};

/** Plants each fault in turn and runs its commands until one fails. */
export async function runFaults(
  faults: readonly PlantedFault[],
  run: MutantRun,
): Promise<MutantReport> {
  const runner = new Runner(run);
  const waiting = [...faults];
  const worker = async (): Promise<void> => {
    await using copy = await WorkingCopy.of(run.root);
    await runner.proveCopy(copy);
    for (let fault = waiting.shift(); fault !== undefined; fault = waiting.shift()) {
      if (run.stopping?.aborted === true) return;
      await runner.judge(fault, copy);
      run.judged?.(runner.verdicts);
    }
  };
  await Promise.all(Array.from({ length: Math.min(run.jobs, faults.length) }, worker));
  return runner;
}

class Runner implements MutantReport {
  readonly verdicts = new Map<string, Verdict>();
  readonly unjudged: string[] = [];
  readonly #run: MutantRun;
  /** What each command did without a fault. */
  readonly #sound = new Map<string, Promise<KillerOutcome>>();

  constructor(run: MutantRun) {
    this.#run = run;
  }

  async judge(fault: PlantedFault, copy: WorkingCopy): Promise<void> {
    const { say } = this.#run;
    const killers = killersOf(fault, this.#run);
    if (killers.length === 0) return this.#leave(fault, "no command is used for it");
    const passed: string[] = [];
    let crash: { readonly command: string; readonly what: string } | undefined;
    let seconds = 0;
    for (const killer of killers) {
      const sound = await this.#withoutFault(killer, copy);
      if (sound.ended !== "passed") {
        return this.#leave(fault, `${killer.text} fails without a fault: ${sound.what}`);
      }
      const { place, text: command } = killer;
      const { ended, what, ...took } = await this.#withFault(fault, killer, copy, sound);
      seconds = Math.round((seconds + took.seconds) * 10) / 10;
      if (ended === "stopped") return this.#leave(fault, "stopped");
      if (ended === "failed") {
        this.verdicts.set(fault.name, { result: "killed", place, what, command, seconds });
        say(`killed    ${fault.name}: ${place}, ${seconds} s: ${what}`);
        return;
      }
      // After a crash, another command may show what the fault breaks.
      if (ended === "passed") passed.push(command);
      else crash ??= { command, what };
    }
    if (crash !== undefined) {
      this.verdicts.set(fault.name, { result: "crashed", ...crash, seconds });
      say(`NO VERDICT ${fault.name}, ${seconds} s: ${crash.command}: ${crash.what}`);
      return;
    }
    this.verdicts.set(fault.name, { result: "survived", passed, seconds });
    say(`SURVIVED  ${fault.name}, ${seconds} s: ${passed.join(", ")}`);
  }

  /** What a command does with a fault. One that does not end counts as passed where its time is all that it gets. */
  async #withFault(
    fault: PlantedFault,
    killer: Killer,
    copy: WorkingCopy,
    sound: KillerOutcome,
  ): Promise<KillerOutcome> {
    const { simulatorMinutes, stopping } = this.#run;
    const usualMs = Math.max(limitLeastMs, sound.seconds * 10_000);
    const limitMs = minutesOf(simulatorMinutes) ?? usualMs;
    const outcome = await copy.with(fault, () => runKiller(killer, copy.root, limitMs, stopping));
    if (outcome.ended !== "late") return outcome;
    if (simulatorMinutes !== undefined) return { ...outcome, ended: "passed" };
    const what = `does not end within ${limitMs / 1_000} s; ${sound.seconds} s without a fault`;
    return { ...outcome, what };
  }

  /** Proves that the copy's own files run, also those of another package than the test's. */
  async proveCopy(copy: WorkingCopy): Promise<void> {
    for (const killer of control.tests.map(testFile)) {
      const sound = await this.#withoutFault(killer, copy);
      if (sound.ended === "stopped") return;
      if (sound.ended !== "passed") throw new RangeError(`${killer.text} fails: ${sound.what}`);
      const { what } = await copy.with(control, () =>
        runKiller(killer, copy.root, soundLimitMs, this.#run.stopping),
      );
      if (this.#run.stopping?.aborted === true || what.includes("planted in the copy")) return;
      throw new RangeError("a fault in the copy has no effect: the tests run other files");
    }
  }

  /** What a command does without a fault; each is run once. */
  #withoutFault(killer: Killer, copy: WorkingCopy): Promise<KillerOutcome> {
    const known = this.#sound.get(killer.text);
    if (known !== undefined) return known;
    const { simulatorMinutes, stopping } = this.#run;
    const limitMs = minutesOf(simulatorMinutes) ?? soundLimitMs;
    const outcome = runKiller(killer, copy.root, limitMs, stopping).then((found) =>
      found.ended === "late" && simulatorMinutes !== undefined
        ? { ...found, ended: "passed" as const }
        : found,
    );
    this.#sound.set(killer.text, outcome);
    return outcome;
  }

  #leave({ name }: PlantedFault, reason: string): void {
    this.unjudged.push(`${name}: ${reason}`);
    this.#run.say(`not run   ${name}: ${reason}`);
  }
}

function minutesOf(minutes: number | undefined): number | undefined {
  return minutes === undefined ? undefined : minutes * 60_000;
}
