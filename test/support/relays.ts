import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import type { RelayState } from "@holdfast/testing";
import { freePort } from "@holdfast/testing";
import { kill } from "./child.ts";
import type { RelayAnswer, RelayRequest } from "./relay-process.ts";

type Wish<Request> = Request extends RelayRequest ? Omit<Request, "id"> : never;

/** TCP relays on loopback, all in one separate process. */
export class Relays implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: RelayAnswer) => void>();
  #asked = 0;

  constructor() {
    this.#child = fork(join(import.meta.dirname, "relay-process.ts"), { execArgv: [] });
    this.#child.on("message", (answer: RelayAnswer) => this.#waiting.get(answer.id)?.(answer));
    this.#child.once("exit", () => {
      for (const [id, settle] of this.#waiting) settle({ id, error: "the relays have ended" });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Opens a relay to a port of 127.0.0.1; returns the relay's port. */
  async open(targetPort: number): Promise<number> {
    const port = await freePort();
    await this.#ask({ do: "open", port, targetPort });
    return port;
  }

  async set(ports: readonly number[], state: RelayState): Promise<void> {
    await Promise.all(ports.map((port) => this.#ask({ do: "set", port, state })));
  }

  /** Ends every connection through these relays. */
  async reset(ports: readonly number[]): Promise<void> {
    await Promise.all(ports.map((port) => this.#ask({ do: "reset", port })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await kill(this.#child);
  }

  #ask(wish: Wish<RelayRequest>): Promise<void> {
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ error }) => {
        this.#waiting.delete(id);
        if (error === undefined) resolve();
        else reject(new Error(`relay: ${error}`));
      });
      this.#child.send({ ...wish, id }, (error) => {
        if (error !== null) this.#waiting.get(id)?.({ id, error: error.message });
      });
    });
  }
}
