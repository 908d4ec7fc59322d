import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { codeOf } from "@holdfast/server/operator-error";

export interface LockOptions {
  /** Makes what is thrown while another command has the lock; `owner` is its process, if the file names one. */
  readonly taken: (owner: number | undefined) => Error;
}

/**
 * Takes a lock until the result is disposed of: a file with the number of this process, which takes each lock once at a time.
 * The lock of a process that was killed is taken over, also if this process has its number, as in a container.
 */
export function takeLock(file: string, options: LockOptions): Disposable {
  if (!isMade(file)) {
    endStale(file, options);
    // Yet another command was faster.
    if (!isMade(file)) throw options.taken(undefined);
  }
  return { [Symbol.dispose]: () => rmSync(file, { force: true }) };
}

/** Makes the lock, unless there is one. */
function isMade(file: string): boolean {
  try {
    writeFileSync(file, `${process.pid}\n`, { mode: 0o600, flag: "wx", flush: true });
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    // A disk without room leaves a lock that names nobody.
    rmSync(file, { force: true });
    throw error;
  }
}

/** Takes the lock of a process that has ended out of the way. */
function endStale(file: string, options: LockOptions): void {
  const stale = `${file}.${process.pid}`;
  try {
    refuseRunning(file, options);
    renameSync(file, stale);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    return;
  }
  try {
    // Another command may have been faster, and this is its lock.
    refuseRunning(stale, options);
  } catch (error) {
    renameSync(stale, file);
    throw error;
  }
  rmSync(stale);
}

/** Refuses a lock whose process runs, and one that names none: it is being written, or is not ours. */
function refuseRunning(file: string, { taken }: LockOptions): void {
  const text = Number(readFileSync(file, "utf8"));
  const owner = Number.isSafeInteger(text) && text > 0 ? text : undefined;
  if (owner === process.pid) return;
  if (owner === undefined || isRunning(owner)) throw taken(owner);
}

function isRunning(owner: number): boolean {
  try {
    process.kill(owner, 0);
    return true;
  } catch (error) {
    // A process of another user cannot be signalled, and runs.
    return codeOf(error) !== "ESRCH";
  }
}
