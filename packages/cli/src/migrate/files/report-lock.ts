import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { Failure } from "../../terminal/failure.ts";

/**
 * Keeps other commands from a report while one works with it: two exports with one report would give each object twice. The
 * lock is a file beside the report with the number of the process.
 */
export class ReportLock implements Disposable {
  readonly #file: string;

  private constructor(file: string) {
    this.#file = file;
  }

  /** Takes the lock, also that of a process that was killed; throws a `Failure` while another one has it. */
  static take(report: string): ReportLock {
    const file = `${report}.lock`;
    if (!written(file)) {
      const owner = ownerOf(file);
      if (owner === undefined || isRunning(owner)) {
        throw new Failure(
          `--report ${report}: ${owner === undefined ? "another process" : `process ${owner}`} works with it: wait for its end; if no such command runs, remove ${file}`,
        );
      }
      rmSync(file, { force: true });
      if (!written(file)) return ReportLock.take(report);
    }
    return new ReportLock(file);
  }

  [Symbol.dispose](): void {
    rmSync(this.#file, { force: true });
  }
}

/** Writes the lock unless there is one. */
function written(file: string): boolean {
  try {
    writeFileSync(file, `${process.pid}\n`, { mode: 0o600, flag: "wx", flush: true });
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** The process that a lock names; undefined if that is not written yet. */
function ownerOf(file: string): number | undefined {
  const owner = Number(readFileSync(file, "utf8"));
  return Number.isSafeInteger(owner) && owner > 0 ? owner : undefined;
}

/** Whether another process has this number. */
function isRunning(owner: number): boolean {
  if (owner === process.pid) return false;
  try {
    process.kill(owner, 0);
    return true;
  } catch (error) {
    // It may belong to another user.
    return codeOf(error) === "EPERM";
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
