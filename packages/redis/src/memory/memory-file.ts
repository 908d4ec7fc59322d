import { type FileHandle, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pid } from "node:process";
import type { MemoryFile } from "../connection/options.ts";

/** A larger file is not read: ten times the memory of a million records. */
const bytesMax = 1 << 29;

/** The memory in a file of the node's disk, mode 0600. */
export class DiskMemoryFile implements MemoryFile {
  readonly name: string;
  #file: FileHandle | undefined;

  constructor(path: string) {
    this.name = path;
  }

  async read(): Promise<Buffer | undefined> {
    try {
      const { size } = await stat(this.name);
      if (size > bytesMax) throw new Error(`it has ${size} bytes, more than ${bytesMax}`);
      return await readFile(this.name);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async replace(content: AsyncIterable<Buffer>): Promise<void> {
    // Of its own name: two processes must not write into one.
    const next = `${this.name}.${pid}.new`;
    if (this.#file === undefined) await this.#dropCutShort();
    const file = await open(next, "wx", 0o600);
    try {
      for await (const bytes of content) await file.appendFile(bytes);
      await file.sync();
      await rename(next, this.name);
    } catch (error) {
      await file.close();
      await rm(next, { force: true });
      throw error;
    }
    await this.close();
    this.#file = file;
    const folder = await open(dirname(this.name), "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  /** Removes what processes left that ended within `replace`: each one is as large as the file. */
  async #dropCutShort(): Promise<void> {
    const folder = dirname(this.name);
    const prefix = `${basename(this.name)}.`;
    for (const name of await readdir(folder)) {
      const isOurs = name.startsWith(prefix) && /^\d+\.new$/.test(name.slice(prefix.length));
      if (isOurs) await rm(join(folder, name), { force: true });
    }
  }

  async append(bytes: Buffer): Promise<void> {
    if (this.#file === undefined) throw new Error("the file was not written by this process");
    await this.#file.appendFile(bytes);
    await this.#file.datasync();
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
