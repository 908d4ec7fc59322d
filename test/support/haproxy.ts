import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { freePort, until } from "@holdfast/testing";
import { kill } from "./child.ts";

/** The shipped file. */
export const haproxyConfig = join(import.meta.dirname, "../../deploy/haproxy/haproxy.cfg");

/** Finds HAProxy, which Debian installs outside of users' PATH. */
function program(): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  return folders.map((folder) => join(folder, "haproxy")).find(existsSync);
}

export function hasHaproxy(): boolean {
  return program() !== undefined;
}

/** The result of `haproxy -c` for a file. */
export function checkConfig(file: string): { readonly ok: boolean; readonly says: string } {
  const { status, stderr, stdout } = spawnSync(program() ?? "haproxy", ["-c", "-f", file], {
    encoding: "utf8",
  });
  return { ok: status === 0, says: `${stdout}${stderr}`.trim() };
}

/** A node's addresses for HAProxy. */
export interface BehindHaproxy {
  readonly host: string;
  readonly kmip: number;
  readonly health: number;
}

/** The real HAProxy with the shipped configuration in front of two nodes. */
export class Haproxy implements AsyncDisposable {
  readonly host = "127.0.0.1";
  readonly port: number;
  readonly #metricsPort: number;
  readonly #child: ChildProcess;
  #log = "";

  private constructor(child: ChildProcess, port: number, metricsPort: number) {
    this.#child = child;
    this.port = port;
    this.#metricsPort = metricsPort;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#log += text;
      });
    }
  }

  /** Starts it and waits until both nodes are up for it. */
  static async start(first: BehindHaproxy, second: BehindHaproxy): Promise<Haproxy> {
    const [port, metricsPort] = [await freePort(), await freePort()];
    const env = {
      ...process.env,
      HOLDFAST_KMIP: `127.0.0.1:${port}`,
      HOLDFAST_HAPROXY_METRICS: `127.0.0.1:${metricsPort}`,
      HOLDFAST_NODE_1: `${first.host}:${first.kmip}`,
      HOLDFAST_HEALTH_1: String(first.health),
      HOLDFAST_NODE_2: `${second.host}:${second.kmip}`,
      HOLDFAST_HEALTH_2: String(second.health),
    };
    const child = spawn(program() ?? "haproxy", ["-db", "-f", haproxyConfig], { env });
    const haproxy = new Haproxy(child, port, metricsPort);
    await until("HAProxy", async () => {
      if (child.exitCode !== null) throw new Error(`HAProxy ended:\n${haproxy.log}`);
      return (await haproxy.up()).every((up) => up);
    });
    return haproxy;
  }

  /** Everything that it printed. */
  get log(): string {
    return this.#log;
  }

  /** Whether each node gets connections; HAProxy considers a node up until its first check. */
  async up(): Promise<readonly boolean[]> {
    try {
      const answer = await fetch(`http://${this.host}:${this.#metricsPort}/metrics`);
      const text = await answer.text();
      return ["node-1", "node-2"].map((name) => {
        const is = (what: string, state: string) =>
          new RegExp(`^haproxy_server_${what}\\{.*server="${name}",state="${state}"\\} 1$`, "m");
        return is("status", "UP").test(text) && !is("check_status", "UNK").test(text);
      });
    } catch {
      return [false, false];
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await kill(this.#child);
  }
}
