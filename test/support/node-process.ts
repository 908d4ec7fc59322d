import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { answerOf, until } from "@holdfast/testing";
import { exitCodes } from "../../packages/cli/src/terminal/exits.ts";
import { compileCache } from "../../scripts/setup/common.mjs";
import { isRunning, kill, spawnBound } from "./child.ts";
import { program } from "./program.ts";

/** The command that runs this checkout. */
export const ownProgram: readonly string[] = [process.execPath, program()];
const clockAhead = join(import.meta.dirname, "clock-ahead.ts");
/** A node that takes longer is not ready. */
const readyMs = 5_000;
/** A busy machine may give the node nothing for long. */
const patienceMs = 60_000;

/** A node's process: `holdfast serve` with a configuration file. */
export class NodeProcess implements AsyncDisposable {
  readonly name: string;
  readonly host = "127.0.0.1";
  readonly kmip: number;
  readonly http: number;
  readonly health: number;
  /** The port for the other region's nodes; 0 in a region alone. */
  readonly peer: number;
  /** The management API's port; 0 if it has none. */
  admin = 0;
  /** The process's own group, by which a packet filter recognises its traffic. */
  groupId: number | undefined;
  /** The command to run: this checkout, a bundle, or an installed package. */
  program = ownProgram;
  /** How far its wall clock is ahead; read at its start. */
  clockAheadMs = 0;
  readonly logFile: string;
  readonly configFile: string;
  /** The file to which it writes its one-time token. */
  readonly bootstrapFile: string;
  #child: ChildProcess | undefined;

  constructor(
    name: string,
    ports: readonly [number, number, number, (number | undefined)?],
    folder: string,
  ) {
    this.name = name;
    [this.kmip, this.http, this.health, this.peer = 0] = ports;
    this.configFile = join(folder, `${name}.yaml`);
    this.logFile = join(folder, `${name}.log`);
    this.bootstrapFile = join(folder, `${name}-bootstrap.token`);
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`node ${this.name} does not run`);
    return pid;
  }

  get running(): boolean {
    return isRunning(this.#child);
  }

  /**
   * Starts the process and waits until it is ready. Starts it again, as systemd does, if it ends and asks for that: on a
   * busy machine a region alone may lose its lease while a node starts.
   */
  async start(): Promise<void> {
    this.launch();
    await until(`node ${this.name}`, async () => {
      if (this.running) return this.ready();
      if (this.#child?.exitCode !== exitCodes.again.code) {
        throw new Error(`node ${this.name} ended:\n${this.logTail()}`);
      }
      this.launch();
      return false;
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.logTail()}`);
    });
  }

  /** Starts the process and does not wait. */
  launch(): void {
    const log = createWriteStream(this.logFile, { flags: "a" });
    const clock = this.clockAheadMs === 0 ? [] : ["--import", clockAhead];
    const [command = "", ...first] = this.program;
    const args = [...clock, ...first, "serve", "--config", this.configFile];
    const group =
      this.groupId === undefined ? [] : ["--regid", `${this.groupId}`, "--clear-groups"];
    const env = {
      ...compileCache,
      ...process.env,
      CLOCK_AHEAD_MS: `${this.clockAheadMs}`,
    };
    const child = spawnBound(command, args, { env }, group);
    child.stdout?.pipe(log);
    child.stderr?.pipe(log);
    this.#child = child;
  }

  /** Whether `/readyz` says that it is ready. */
  async ready(): Promise<boolean> {
    try {
      return (await this.#fetch("readyz", readyMs)).ok;
    } catch {
      return false;
    }
  }

  /** The node's metrics as text. */
  async metrics(withinMs?: number): Promise<string> {
    return (await this.#report("metrics", withinMs)).text();
  }

  /** The lines of `/readyz?verbose`, one for each part. */
  async details(): Promise<readonly string[]> {
    return (await (await this.#report("readyz?verbose")).text()).split("\n");
  }

  /** Asks again where a node that got nothing for seconds has closed the connection before it read the request. */
  #report(path: string, withinMs = patienceMs): Promise<Response> {
    const ask = () => this.#fetch(path, withinMs);
    return answerOf(`${path} of ${this.name}`, ask, (error) => {
      const { cause } = error as { readonly cause?: { readonly code?: unknown } };
      return cause?.code === "UND_ERR_SOCKET" || cause?.code === "ECONNRESET";
    });
  }

  #fetch(path: string, withinMs: number): Promise<Response> {
    const signal = AbortSignal.timeout(withinMs);
    // This makes the node print new metrics, which include what it has just done.
    const headers = { "cache-control": "no-cache" };
    return fetch(`http://${this.host}:${this.http}/${path}`, { signal, headers });
  }

  /** Everything that it printed. */
  logText(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, "utf8") : "";
  }

  logTail(): string {
    return this.logText().slice(-2_000);
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Kills it with SIGKILL, and waits for its end. */
  kill(): Promise<void> {
    return kill(this.#child);
  }

  /** Ends it with SIGTERM; returns the exit code. */
  async stop(): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || !isRunning(child)) return child?.exitCode ?? null;
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    await gone;
    return child.exitCode;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}
