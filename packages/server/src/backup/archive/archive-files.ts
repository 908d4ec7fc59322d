import { constants, rmSync } from "node:fs";
import { type FileHandle, link, lstat, open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { codeOf, reasonOf } from "../../base/operator-error.ts";
import { atExit } from "../at-exit.ts";
import { ArchiveFault } from "./archive-format.ts";

/** A file that is being written; what is not finished is removed at the end. All calls reject with an `ArchiveFault`. */
export interface ArchiveDraft extends AsyncDisposable {
  /** Appends all of the bytes. */
  write(bytes: Buffer): Promise<void>;
  /** Makes it durable, and gives it its name. */
  finish(): Promise<void>;
}

/** A file that is read. */
export interface ArchiveFile extends AsyncDisposable {
  /** In bytes. */
  readonly size: number;
  /** The bytes from a position on; fewer than `length` at the end. */
  read(position: number, length: number): Promise<Buffer>;
}

/** Where archives are kept: on a disk, or in the memory of a simulated operator. */
export interface ArchiveFiles {
  /** `mark` distinguishes two drafts of one name. Rejects with an `ArchiveFault`, also if the name is taken. */
  create(file: string, mark: string): Promise<ArchiveDraft>;
  /** Rejects with an `ArchiveFault`. */
  open(file: string): Promise<ArchiveFile>;
}

/** Files on the disk. They never follow a symbolic link, and replace nothing. */
export const diskFiles: ArchiveFiles = {
  create: (file, mark) => DiskDraft.create(file, mark),
  open: (file) => DiskFile.open(file),
};

class DiskDraft implements ArchiveDraft {
  readonly #file: string;
  readonly #draft: string;
  readonly #handle: FileHandle;
  readonly #leftover: Disposable;
  #done = false;

  private constructor(file: string, draft: string, handle: FileHandle) {
    this.#file = file;
    this.#draft = draft;
    this.#handle = handle;
    this.#leftover = atExit(() => rmSync(draft, { force: true }));
  }

  static async create(file: string, mark: string): Promise<DiskDraft> {
    await refuseExisting(file);
    const draft = `${file}.${mark}.partial`;
    const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
    const handle = await open(draft, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600).catch(
      (error: unknown) => {
        throw new ArchiveFault(`${draft}: ${wordsFor(error)}`);
      },
    );
    return new DiskDraft(file, draft, handle);
  }

  async write(bytes: Buffer): Promise<void> {
    try {
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await this.#handle.write(bytes, at);
        at += bytesWritten;
      }
    } catch (error) {
      throw new ArchiveFault(`${this.#draft}: ${wordsFor(error)}`);
    }
  }

  async finish(): Promise<void> {
    try {
      await this.#handle.sync();
      // Unlike a rename, a link does not replace a file that was created meanwhile.
      await link(this.#draft, this.#file).catch(async (error: unknown) => {
        if (codeOf(error) === "EEXIST") throw error;
        await refuseExisting(this.#file);
        await rename(this.#draft, this.#file);
      });
      await unlink(this.#draft).catch((error: unknown) => {
        if (codeOf(error) !== "ENOENT") throw error;
      });
      await syncFolder(dirname(this.#file));
      this.#done = true;
    } catch (error) {
      throw error instanceof ArchiveFault
        ? error
        : new ArchiveFault(`${this.#file}: ${wordsFor(error)}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leftover[Symbol.dispose]();
    await this.#handle.close();
    if (!this.#done) await unlink(this.#draft).catch(() => undefined);
  }
}

class DiskFile implements ArchiveFile {
  readonly size: number;
  readonly #file: string;
  readonly #handle: FileHandle;

  private constructor(file: string, handle: FileHandle, size: number) {
    this.#file = file;
    this.#handle = handle;
    this.size = size;
  }

  static async open(file: string): Promise<DiskFile> {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW).catch(
      (error: unknown) => {
        throw new ArchiveFault(`${file}: ${wordsFor(error)}`);
      },
    );
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) throw new ArchiveFault(`${file}: this is not a file`);
      return new DiskFile(file, handle, stats.size);
    } catch (error) {
      await handle.close();
      throw error instanceof ArchiveFault ? error : new ArchiveFault(`${file}: ${wordsFor(error)}`);
    }
  }

  async read(position: number, length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length);
    let filled = 0;
    try {
      while (filled < length) {
        const at = position + filled;
        const { bytesRead } = await this.#handle.read(bytes, filled, length - filled, at);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
    } catch (error) {
      throw new ArchiveFault(`${this.#file}: ${wordsFor(error)}`);
    }
    return bytes.subarray(0, filled);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/** Gives a file another name in its folder, durably. Rejects with an `ArchiveFault`, also if the name is taken. */
export async function renameArchive(file: string, name: string): Promise<void> {
  await refuseExisting(name);
  try {
    await rename(file, name);
    await syncFolder(dirname(name));
  } catch (error) {
    throw new ArchiveFault(`${name}: ${wordsFor(error)}`);
  }
}

async function refuseExisting(file: string): Promise<void> {
  const found = await lstat(file).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new ArchiveFault(`${file}: ${wordsFor(error)}`);
  });
  if (found === undefined) return;
  throw new ArchiveFault(`${file} exists already and is kept: give another name`);
}

/** Makes names in a folder durable. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A file system's error in words. */
export function wordsFor(error: unknown): string {
  const words: Readonly<Record<string, string>> = {
    ENOENT: "no such file or folder",
    ENOTDIR: "no such folder",
    EACCES: "access is denied",
    EPERM: "access is denied",
    EEXIST: "it exists already and is kept: give another name",
    ENOSPC: "the disk is full: nothing was kept; give it room, or another folder",
    EDQUOT: "the quota is used up: nothing was kept",
    EROFS: "the file system is read-only",
    ELOOP: "it is a symbolic link, which is not followed: give the file itself",
    EISDIR: "it is a folder",
  };
  return words[codeOf(error) ?? ""] ?? reasonOf(error);
}
