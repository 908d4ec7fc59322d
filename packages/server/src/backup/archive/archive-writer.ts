import { constants, rmSync } from "node:fs";
import { type FileHandle, link, lstat, open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { Ids } from "@holdfast/engine";
import { codeOf, reasonOf } from "../../base/operator-error.ts";
import { atExit } from "../at-exit.ts";
import { entryHeaderBytes } from "./archive-entries.ts";
import {
  ArchiveFault,
  type ArchiveHeader,
  type BackupKey,
  ChunkCipher,
  chunkBytes,
  headerBytes,
  keyCheckOf,
} from "./archive-format.ts";

/** How many chunks are written together. */
const chunksPerWrite = 16;

/**
 * Writes an archive into a file that gets its name only once it is complete and on the disk. Never
 * follows a symbolic link, and replaces nothing.
 */
export class ArchiveWriter implements AsyncDisposable {
  readonly #file: string;
  readonly #draft: string;
  readonly #handle: FileHandle;
  readonly #cipher: ChunkCipher;
  readonly #plain = Buffer.alloc(chunkBytes);
  #filled = 0;
  #sealed: Buffer[] = [];
  #bytes = 0;
  #entries = 0;
  #done = false;
  readonly #leftover: Disposable;

  private constructor(file: string, draft: string, handle: FileHandle, cipher: ChunkCipher) {
    this.#file = file;
    this.#draft = draft;
    this.#handle = handle;
    this.#cipher = cipher;
    this.#leftover = atExit(() => rmSync(draft, { force: true }));
  }

  static async create(
    file: string,
    key: BackupKey,
    about: Omit<ArchiveHeader, "keyVersion" | "keyCheck" | "salt">,
    ids: Ids,
  ): Promise<ArchiveWriter> {
    await refuseExisting(file);
    const header: ArchiveHeader = {
      ...about,
      keyVersion: key.version,
      keyCheck: keyCheckOf(key),
      salt: Buffer.from(ids.randomBytes(32)).toString("base64"),
    };
    const bytes = headerBytes(header);
    const draft = `${file}.${ids.uuid().slice(0, 8)}.partial`;
    const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
    const handle = await open(draft, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600).catch(
      (error: unknown) => {
        throw new ArchiveFault(`${draft}: ${wordsFor(error)}`);
      },
    );
    const writer = new ArchiveWriter(file, draft, handle, new ChunkCipher(key, header, bytes));
    await writer.#write([bytes]);
    return writer;
  }

  /** Bytes of the file so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Entries so far. */
  get entries(): number {
    return this.#entries;
  }

  /** Adds an entry. */
  async add(kind: number, body: Uint8Array): Promise<void> {
    const head = Buffer.alloc(entryHeaderBytes);
    head[0] = kind;
    head.writeUInt32BE(body.length, 1);
    this.#take(head);
    this.#take(body);
    this.#entries += 1;
    if (this.#sealed.length >= chunksPerWrite) await this.#flush();
  }

  /** Seals the last chunk and gives the file its name. */
  async finish(): Promise<void> {
    this.#sealed.push(this.#cipher.seal(this.#plain.subarray(0, this.#filled), true));
    this.#plain.fill(0);
    await this.#flush();
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

  #take(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      // A full chunk is sealed only when more bytes follow: until then it may be the last.
      if (this.#filled === chunkBytes) {
        this.#sealed.push(this.#cipher.seal(this.#plain, false));
        this.#filled = 0;
      }
      const some = bytes.subarray(at, at + chunkBytes - this.#filled);
      this.#plain.set(some, this.#filled);
      this.#filled += some.length;
      at += some.length;
    }
  }

  async #flush(): Promise<void> {
    const sealed = this.#sealed;
    this.#sealed = [];
    await this.#write(sealed);
  }

  async #write(buffers: readonly Buffer[]): Promise<void> {
    const bytes = Buffer.concat(buffers);
    try {
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await this.#handle.write(bytes, at);
        at += bytesWritten;
      }
    } catch (error) {
      throw new ArchiveFault(`${this.#draft}: ${wordsFor(error)}`);
    }
    this.#bytes += bytes.length;
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
