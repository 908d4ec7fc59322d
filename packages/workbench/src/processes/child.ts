import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { OperatorError } from "@holdfast/server/base";
import { identityOf, isAlive, type ProcessIdentity, signal } from "./process-identity.ts";

export interface ChildOptions {
  /** Its name in messages, such as `node a1`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The file to which its output is appended. */
  readonly log: string;
}

/** Process, role, time and level in front of each line of Redis's log. */
const redisPrefix = /^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ [#*.-] /;

/** A process of the cluster, in its own process group, so that Ctrl-C reaches only the supervisor, which ends it. */
export class Child {
  readonly name: string;
  readonly log: string;
  readonly identity: ProcessIdentity;
  /** Resolves when the process has ended, with how it ended. */
  readonly ended: Promise<string>;
  #over = false;
  readonly #logStart: number;

  private constructor(options: ChildOptions, child: ChildProcess, logStart: number) {
    this.name = options.name;
    this.log = options.log;
    this.#logStart = logStart;
    // If the process ends at once, `ended` still reports it.
    this.identity = identityOf(child.pid ?? 0) ?? { pid: child.pid ?? 0, started: "" };
    this.ended = new Promise((resolve) => {
      child.once("exit", (code, name) => {
        this.#over = true;
        resolve(name === null ? `exit code ${code}` : `signal ${name}`);
      });
    });
  }

  /** Starts a process; rejects with an `OperatorError` if the system cannot start it. */
  static async start(options: ChildOptions): Promise<Child> {
    const output = openSync(options.log, "a", 0o600);
    const { size } = statSync(options.log);
    try {
      const child = spawn(options.command, options.args, {
        detached: true,
        stdio: ["ignore", output, output],
      });
      await new Promise<void>((resolve, reject) => {
        child.once("spawn", resolve);
        child.once("error", (error) =>
          reject(new OperatorError(`${options.name}: cannot be started: ${error.message}`)),
        );
      });
      return new Child(options, child, size);
    } finally {
      closeSync(output);
    }
  }

  get alive(): boolean {
    return !this.#over;
  }

  /** The last line of this run that is not a JSON log entry: usually why it did not start. */
  lastWords(): string | undefined {
    const text = readFileSync(this.log).subarray(this.#logStart).toString("utf8");
    return text
      .split("\n")
      .map((line) =>
        line
          .replace(redisPrefix, "")
          .replace(/^holdfast: /, "")
          .trim(),
      )
      .findLast((line) => line !== "" && !line.startsWith("{"));
  }

  /** Asks the process to end, and kills it after the grace time. */
  async stop(graceMs: number): Promise<void> {
    if (this.#over) return;
    signal(this.identity, "SIGTERM");
    // A frozen process does not handle signals.
    signal(this.identity, "SIGCONT");
    const timer = setTimeout(() => signal(this.identity, "SIGKILL"), graceMs);
    await this.ended;
    clearTimeout(timer);
  }
}

/** Ends a process left by an earlier run, as `Child.stop` does. */
export async function stopLeft(identity: ProcessIdentity, graceMs: number): Promise<void> {
  signal(identity, "SIGTERM");
  signal(identity, "SIGCONT");
  const pollMs = 20;
  for (let waited = 0; isAlive(identity); waited += pollMs) {
    if (waited >= graceMs) signal(identity, "SIGKILL");
    await sleep(pollMs);
  }
}
