import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { OperatorError } from "@holdfast/server/base";
import { identityOf, isAlive, type ProcessIdentity, signal } from "./process-identity.ts";

export interface ChildOptions {
  /** As it is called in messages, such as `node a1`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** File that its output is appended to. */
  readonly log: string;
}

/** Process, role, time and level in front of each line of Redis's log. */
const redisPrefix = /^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ [#*.-] /;

/** A process of the cluster. It is in a group of its own, so that Ctrl-C reaches only the one who ends it in order. */
export class Child {
  readonly name: string;
  readonly log: string;
  readonly identity: ProcessIdentity;
  /** Resolves when it has ended, with how. */
  readonly ended: Promise<string>;
  #over = false;
  readonly #logStart: number;

  private constructor(options: ChildOptions, child: ChildProcess, logStart: number) {
    this.name = options.name;
    this.log = options.log;
    this.#logStart = logStart;
    // An end within the first instant is reported by `ended` all the same.
    this.identity = identityOf(child.pid ?? 0) ?? { pid: child.pid ?? 0, started: "" };
    this.ended = new Promise((resolve) => {
      child.once("exit", (code, name) => {
        this.#over = true;
        resolve(name === null ? `exit code ${code}` : `signal ${name}`);
      });
    });
  }

  /** Starts it; throws a `OperatorError` when the system cannot. */
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

  /** The last line that this run wrote and that is not a JSON log entry: why it did not start. */
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

  /** Asks it to end, and after a while ends it. */
  async stop(graceMs: number): Promise<void> {
    if (this.#over) return;
    signal(this.identity, "SIGTERM");
    // A frozen one hears nothing.
    signal(this.identity, "SIGCONT");
    const timer = setTimeout(() => signal(this.identity, "SIGKILL"), graceMs);
    await this.ended;
    clearTimeout(timer);
  }
}

/** Ends a process that an earlier run has left, as `Child.stop` does. */
export async function stopLeft(identity: ProcessIdentity, graceMs: number): Promise<void> {
  signal(identity, "SIGTERM");
  signal(identity, "SIGCONT");
  const pollMs = 20;
  for (let waited = 0; isAlive(identity); waited += pollMs) {
    if (waited >= graceMs) signal(identity, "SIGKILL");
    await sleep(pollMs);
  }
}
