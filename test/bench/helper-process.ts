import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { isRunning, kill } from "../support/child.ts";

/** A helper process of the bench. It answers one request at a time and ends with the bench. */
export class HelperProcess<Request, Answer> implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #name: string;

  constructor(file: string, signal?: AbortSignal) {
    this.#name = file;
    // Node's options, such as those for a profile, must not apply to this process.
    const env = { ...process.env, NODE_OPTIONS: "" };
    this.#child = fork(join(import.meta.dirname, file), [], {
      env,
      execArgv: [],
      killSignal: "SIGKILL",
      ...(signal === undefined ? {} : { signal }),
    });
    this.#child.on("error", () => this.#child.kill("SIGKILL"));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Rejects when the process ends instead of answering. */
  async ask(request: Request): Promise<Answer> {
    if (!isRunning(this.#child)) throw new Error(`${this.#name} has ended`);
    const settled = new AbortController();
    const { signal } = settled;
    try {
      const answer = once(this.#child, "message", { signal }).then(([one]) => one as Answer);
      const end = once(this.#child, "exit", { signal }).then(() => {
        throw new Error(`${this.#name} ended`);
      });
      this.#child.send(request as object);
      return await Promise.race([answer, end]);
    } finally {
      settled.abort();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await kill(this.#child);
  }
}
