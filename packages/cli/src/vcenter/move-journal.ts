import {
  appendFileSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { codeOf, OperatorError } from "@holdfast/server/operator-error";
import { Failure, reasonOf } from "../terminal/failure.ts";
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
    if (!existsSync(this.#path)) return open;
    const prefix = kind === "template" ? "" : "vsan-";
    for (const line of readFileSync(this.#path, "utf8").split("\n")) {
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
    appendFileSync(this.#path, line, { flush: true });
  }

  /** Keeps other runs away from the journal until the result is disposed of; a run that was killed keeps nobody away. */
  lock(): Disposable {
    const lock = `${this.#path}.lock`;
    if (!locked(lock)) {
      this.#endStale(lock);
      if (!locked(lock)) throw this.#taken(lock);
    }
    return { [Symbol.dispose]: () => rmSync(lock, { force: true }) };
  }

  /** Takes the lock of a process that has ended out of the way. */
  #endStale(lock: string): void {
    const stale = `${lock}.${process.pid}`;
    try {
      if (isAlive(readFileSync(lock, "utf8"))) throw this.#taken(lock);
      renameSync(lock, stale);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
      return;
    }
    // Another run may have been faster, and this is its lock.
    if (isAlive(readFileSync(stale, "utf8"))) {
      renameSync(stale, lock);
      throw this.#taken(lock);
    }
    rmSync(stale);
  }

  #taken(lock: string): Error {
    return new OperatorError(
      `--journal ${this.#path}: another run of \`vcenter move\` uses it: wait until that has ended, or give another file for another vCenter (if none runs, delete ${lock})`,
      "conflicting",
    );
  }
}

/** Makes the lock; answers whether it did. */
function locked(lock: string): boolean {
  try {
    writeFileSync(lock, `${process.pid}\n`, { flag: "wx" });
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw new Failure(`--journal: ${reasonOf(error)}`);
  }
}

/** Whether the process of a lock runs; one without a number was being written, or is not ours. */
function isAlive(text: string): boolean {
  const pid = Number(text);
  if (!Number.isSafeInteger(pid) || pid <= 0) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== "ESRCH";
  }
}
