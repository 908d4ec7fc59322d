import { appendFileSync, existsSync, readFileSync, truncateSync } from "node:fs";
import { OperatorError } from "@holdfast/server/operator-error";
import { Failure, reasonOf } from "../terminal/failure.ts";
import { takeLock } from "../terminal/file-lock.ts";
import type { MoRef } from "./vi-json.ts";

/** A file that remembers work that was begun and not ended: a run may be killed at any moment. */
export class MoveJournal {
  readonly #path: string;
  /** The same identifier is another object at another vCenter. */
  readonly #vcenterId: string;

  constructor(path: string, vcenterId: string) {
    this.#path = path;
    this.#vcenterId = vcenterId;
  }

  /** What an earlier run has begun and not ended, by object. */
  begun(kind: "template" | "vsan"): ReadonlyMap<string, readonly string[]> {
    const open = new Map<string, readonly string[]>();
    const prefix = kind === "template" ? "" : "vsan-";
    for (const line of this.#whole().text.split("\n")) {
      const [state, vcenter, id = "", ...more] = line.split(" ");
      if (vcenter !== this.#vcenterId) continue;
      if (state === `${prefix}open`) open.set(id, more);
      if (state === `${prefix}closed`) open.delete(id);
    }
    return open;
  }

  note(
    state: "open" | "closed" | "vsan-open" | "vsan-closed",
    { value }: MoRef,
    ...more: readonly string[]
  ): void {
    const line = `${[state, this.#vcenterId, value, ...more].join(" ")}\n`;
    const { text, isCut } = this.#whole();
    if (isCut) truncateSync(this.#path, Buffer.byteLength(text));
    appendFileSync(this.#path, line, { flush: true });
  }

  /** The lines that are whole: of one that was cut short, as by a full disk, the identifier may be that of another object. */
  #whole(): { readonly text: string; readonly isCut: boolean } {
    const all = existsSync(this.#path) ? readFileSync(this.#path, "utf8") : "";
    const text = all.slice(0, all.lastIndexOf("\n") + 1);
    return { text, isCut: text.length < all.length };
  }

  /** Keeps other runs away from the journal until the result is disposed of; a run that was killed keeps nobody away. */
  lock(): Disposable {
    const lock = `${this.#path}.lock`;
    const taken = () =>
      new OperatorError(
        `--journal ${this.#path}: another run of \`vcenter move\` uses it: wait until that has ended, or give another file for another vCenter (if none runs, delete ${lock})`,
        "conflicting",
      );
    try {
      return takeLock(lock, { taken });
    } catch (error) {
      if (error instanceof OperatorError) throw error;
      throw new Failure(`--journal: ${reasonOf(error)}`);
    }
  }
}
