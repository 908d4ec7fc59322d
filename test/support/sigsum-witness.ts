import { type ChildProcess, spawnSync } from "node:child_process";
import type { KeyObject } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { rawPublicKey } from "@holdfast/engine";
import { freePort, until } from "@holdfast/testing";
import { describeLogKey } from "../../packages/server/src/audit/log/log-key.ts";
import { isRunning, kill, spawnBound } from "./child.ts";

/** How a log must be called so that `sigsum-witness` knows it; the SHA-256 of its key follows. */
export const sigsumLogName = "sigsum.org/v1/tree";

const programs = ["sigsum-key", "sigsum-witness", "spicy-litetlog"];

/** Whether Debian's witness, and its checker of inclusion proofs, can be run. */
export function hasSigsum(): boolean {
  return programs.every((program) => spawnSync(program, ["--help"]).error === undefined);
}

/** Runs one of Debian's programs; its output, trimmed. */
export function runTool(program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
}

/** Debian's witness: one log, one process. */
export class SigsumWitness implements AsyncDisposable {
  readonly port: number;
  /** Its verifier key, for cosignatures. */
  readonly key: string;
  readonly #folder: string;
  #child: ChildProcess | undefined;

  private constructor(folder: string, port: number, key: string) {
    this.#folder = folder;
    this.port = port;
    this.key = key;
  }

  /** Makes its key in a folder, and starts it for the log of this key. */
  static async start(folder: string, log: KeyObject): Promise<SigsumWitness> {
    const path = join(folder, "witness");
    runTool("sigsum-key", "generate", "-o", path);
    const hash = runTool("sigsum-key", "to-hash", "-k", `${path}.pub`);
    const name = `sigsum.org/v1/witness/${hash}`;
    const form = ["-t", "cosignature/v1", "-n", name];
    const key = runTool("sigsum-key", "to-vkey", "-k", `${path}.pub`, ...form);
    const raw = rawPublicKey(log) ?? Buffer.alloc(0);
    const [, , line = ""] = describeLogKey({ key: { name: "log", kind: "log", raw } });
    await writeFile(join(folder, "log.pub"), `${line.replace("OpenSSH: ", "")}\n`);
    const witness = new SigsumWitness(folder, await freePort(), key);
    await witness.resume();
    return witness;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async resume(): Promise<void> {
    const at = (name: string) => join(this.#folder, name);
    const files = ["-k", at("witness"), "--log-key", at("log.pub"), "--state-file", at("state")];
    this.#child = spawnBound("sigsum-witness", [...files, `127.0.0.1:${this.port}`], {
      // Debian builds it with Go's old routes, which know no methods: without this, every answer is 404.
      env: { ...process.env, GODEBUG: "httpmuxgo121=0" },
      stdio: "ignore",
    });
    await until("the witness answers", async () => {
      if (!isRunning(this.#child)) throw new Error("sigsum-witness ended");
      return await fetch(this.url).then(
        () => true,
        () => false,
      );
    });
  }

  stop(): Promise<void> {
    return kill(this.#child);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
