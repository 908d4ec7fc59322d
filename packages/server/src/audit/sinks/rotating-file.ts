import { type FileHandle, open, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "@holdfast/engine";
import { codeOf } from "../../base/operator-error.ts";
import { rotatedFiles, rotatedName } from "./rotated-names.ts";

/** How a file of lines is kept. */
export interface RotatingFileOptions {
  readonly path: string;
  /** The file is rotated before it would be larger than this, */
  readonly bytesMax: number;
  /** or when it is older than this. */
  readonly ageMs: number;
  /** How many rotated files are kept. */
  readonly filesMax: number;
  readonly clock: Pick<Clock, "wallMs">;
}

const mode = 0o600;
const tailBytes = 1 << 16;
const newline = 0x0a;

/** A file of lines that only its owner may read; when `append` resolves, they are on the disk. */
export class RotatingFile {
  readonly #options: RotatingFileOptions;
  #file: FileHandle | undefined;
  #bytes = 0;
  #bornMs = 0;

  constructor(options: RotatingFileOptions) {
    this.#options = options;
  }

  /** Writes whole lines; after a failure, the next call first cuts off a partial line. */
  async append(lines: string): Promise<void> {
    const bytes = Buffer.from(lines, "utf8");
    try {
      let file = await this.#current();
      if (this.#isFull(bytes.length)) {
        await this.#putAside();
        file = await this.#current();
      }
      await file.appendFile(bytes);
      await file.datasync();
      this.#bytes += bytes.length;
    } catch (error) {
      await this.close().catch(() => undefined);
      throw error;
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  #isFull(more: number): boolean {
    if (this.#bytes === 0) return false;
    const { bytesMax, ageMs, clock } = this.#options;
    return this.#bytes + more > bytesMax || clock.wallMs() - this.#bornMs > ageMs;
  }

  /** The file at the path; a new one if somebody else has renamed or removed it. */
  async #current(): Promise<FileHandle> {
    const file = this.#file;
    if (file !== undefined && (await this.#isInPlace(file))) return file;
    await this.close();
    const opened = await open(this.#options.path, "a+", mode);
    this.#file = opened;
    await opened.chmod(mode);
    const { birthtimeMs } = await opened.stat();
    // Not every file system knows when a file was created.
    this.#bornMs = birthtimeMs > 0 ? birthtimeMs : this.#options.clock.wallMs();
    this.#bytes = await dropHalfLine(opened);
    return opened;
  }

  async #isInPlace(file: FileHandle): Promise<boolean> {
    try {
      const [own, there] = await Promise.all([file.stat(), stat(this.#options.path)]);
      this.#bytes = own.size;
      return own.ino === there.ino && own.dev === there.dev;
    } catch (error) {
      if (codeOf(error) === "ENOENT") return false;
      throw error;
    }
  }

  async #putAside(): Promise<void> {
    const { path, filesMax, clock } = this.#options;
    await this.close();
    await rename(path, rotatedName(path, clock.wallMs()));
    const folder = await open(dirname(path), "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
    const files = await rotatedFiles(path);
    for (const old of files.slice(0, Math.max(0, files.length - filesMax))) await unlink(old);
  }
}

/** Cuts off a partial line that a crash has left; returns the file's length. */
async function dropHalfLine(file: FileHandle): Promise<number> {
  const { size, whole } = await wholeLines(file);
  if (whole < size) await file.truncate(whole);
  return whole;
}

/** The size of a file, and its length up to the end of its last whole line. */
export async function wholeLines(
  file: FileHandle,
): Promise<{ readonly size: number; readonly whole: number }> {
  const { size } = await file.stat();
  const tail = Buffer.alloc(tailBytes);
  for (let end = size; end > 0; end -= tailBytes) {
    const start = Math.max(0, end - tailBytes);
    const { bytesRead } = await file.read(tail, 0, end - start, start);
    const last = tail.lastIndexOf(newline, bytesRead - 1);
    if (bytesRead > 0 && last >= 0) return { size, whole: start + last + 1 };
  }
  return { size, whole: 0 };
}
