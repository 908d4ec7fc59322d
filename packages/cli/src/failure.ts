import { readFileSync } from "node:fs";

/** What went wrong and the mend, on one line: all that a user sees of it. */
export class Failure extends Error {
  override readonly name = "Failure";
}

/** The message of anything thrown, on one line without control characters. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/[\s\p{Cc}]+/gu, " ").trim();
}

const standardInput = 0;

/** Reads a file that an option or argument names; `-` is standard input. */
export function readGiven(option: string, path: string): Buffer {
  try {
    return readFileSync(path === "-" ? standardInput : path);
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    const what = missing ? "no such file" : reasonOf(error);
    throw new Failure(`${option} ${path}: ${what}; give another path`);
  }
}
