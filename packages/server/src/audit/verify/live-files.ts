import { type FileHandle, open } from "node:fs/promises";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf, OperatorError, reasonOf } from "../../base/operator-error.ts";
import { rotatedFiles } from "../sinks/rotated-names.ts";
import { wholeLines } from "../sinks/rotating-file.ts";

/** Takes a line, where it is, and a name of its file that no rotation changes. */
type Take = (text: string, where: string, file: string) => void;

/** A file that was read up to some byte and line. */
interface Reading {
  /** No other open file has it. */
  readonly id: string;
  readonly handle: FileHandle;
  /** A pipe is read once, to its end. */
  readonly isRegular: boolean;
  path: string;
  at: number;
  lines: number;
  /** At the last look. */
  size: number;
}

/** What a sink writes at each of so many looks is more than was there when the check began. */
const looksMax = 20;
const lookAgainMs = 200;

/** Reads each line of files once, rotated files included, although sinks write to them and rotate them meanwhile. */
export class LiveFiles implements AsyncDisposable {
  readonly #paths: readonly string[];
  readonly #take: Take;
  /** Those that a sink may write to. They stay open, so that each is known again under its new name. */
  readonly #growing = new Map<string, Reading>();
  /** By the path under which they were opened. */
  readonly #opened = new Map<string, Reading>();
  /** Rotated files that were read, which do not change. */
  readonly #rotated = new Set<string>();
  #bytes = 0;

  constructor(paths: readonly string[], take: Take) {
    this.#paths = [...new Set(paths)];
    this.#take = take;
  }

  get count(): number {
    return this.#growing.size + this.#rotated.size;
  }

  /** Reads, and looks again, until nothing is new and no last line is half-written. */
  async read(): Promise<void> {
    for (let look = 1; look <= looksMax; look += 1) {
      const before = this.#bytes;
      for (const path of this.#paths) await named(path, () => this.#look(path));
      let isWritten = false;
      for (const file of this.#growing.values()) {
        isWritten = (await named(file.path, () => this.#readOn(file))) || isWritten;
      }
      if (isWritten) await sleep(lookAgainMs);
      else if (this.#bytes === before) return await this.#readRests();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { handle } of this.#growing.values()) await handle.close();
  }

  /** Opens the file at a path if it is another one than before, and reads what was rotated since. */
  async #look(path: string): Promise<void> {
    const file = await this.#open(path);
    if (file === undefined) return;
    if (this.#growing.has(file.id)) await file.handle.close();
    else this.#growing.set(file.id, file);
    this.#opened.set(path, file);
    if (!file.isRegular) return await this.#lines(file, Number.POSITIVE_INFINITY);
    for (const name of await rotatedFiles(path)) {
      if (!this.#rotated.has(name)) await this.#readRotated(name);
    }
  }

  /** Undefined for a pipe that was read, and for a rotated file that the sink has deleted since it was opened. */
  async #open(path: string): Promise<Reading | undefined> {
    const opened = this.#opened.get(path);
    if (opened?.isRegular === false) return undefined;
    for (let tries = 1; ; tries += 1) {
      try {
        return await reading(path);
      } catch (error) {
        if (codeOf(error) !== "ENOENT") throw error;
        if (tries > 1 && opened !== undefined) return undefined;
        if (tries > 1) throw error;
      }
      // A rotation has renamed it, and makes the next one now.
      await sleep(lookAgainMs);
    }
  }

  async #readRotated(name: string): Promise<void> {
    let file: Reading;
    try {
      file = await reading(name);
    } catch (error) {
      // The sink deletes its oldest files.
      if (codeOf(error) === "ENOENT") return;
      throw error;
    }
    try {
      const known = this.#growing.get(file.id);
      if (known !== undefined) {
        known.path = name;
        return;
      }
      this.#rotated.add(name);
      await this.#lines({ ...file, id: name }, (await file.handle.stat()).size);
    } finally {
      await file.handle.close();
    }
  }

  /** Reads the whole lines that a file has by now; whether somebody may be writing the one after them. */
  async #readOn(file: Reading): Promise<boolean> {
    const { size, whole } = await wholeLines(file.handle);
    await this.#lines(file, whole);
    const isWritten = size > whole && size !== file.size;
    file.size = size;
    return isWritten;
  }

  /** Reads last lines without an end, if no sink is still writing them. */
  async #readRests(): Promise<void> {
    for (const file of this.#growing.values()) {
      await named(file.path, () => this.#lines(file, file.size));
    }
  }

  async #lines(file: Reading, end: number): Promise<void> {
    if (end <= file.at) return;
    const bytes = file.isRegular ? { start: file.at, end: end - 1 } : {};
    const input = file.handle.createReadStream({ ...bytes, autoClose: false });
    for await (const text of createInterface({ input })) {
      file.lines += 1;
      if (text !== "") this.#take(text, `${file.path}:${file.lines}`, file.id);
    }
    this.#bytes += end - file.at;
    file.at = end;
  }
}

async function reading(path: string): Promise<Reading> {
  const handle = await open(path);
  const stat = await handle.stat();
  const id = `${stat.dev}:${stat.ino}`;
  return { id, handle, isRegular: stat.isFile(), path, at: 0, lines: 0, size: 0 };
}

async function named<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw new OperatorError(`--file ${path}: ${reasonOf(error)}`);
  }
}
