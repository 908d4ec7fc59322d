import type { Ids } from "@holdfast/engine";
import { entryHeaderBytes } from "./archive-entries.ts";
import { type ArchiveDraft, type ArchiveFiles, diskFiles } from "./archive-files.ts";
import {
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
 * Writes an archive into a file that gets its name only once it is complete and durable.
 */
export class ArchiveWriter implements AsyncDisposable {
  readonly #draft: ArchiveDraft;
  readonly #cipher: ChunkCipher;
  readonly #plain = Buffer.alloc(chunkBytes);
  #filled = 0;
  #sealed: Buffer[] = [];
  #bytes = 0;
  #entries = 0;

  private constructor(draft: ArchiveDraft, cipher: ChunkCipher) {
    this.#draft = draft;
    this.#cipher = cipher;
  }

  static async create(
    file: string,
    key: BackupKey,
    about: Omit<ArchiveHeader, "keyVersion" | "keyCheck" | "salt">,
    ids: Ids,
    files: ArchiveFiles = diskFiles,
  ): Promise<ArchiveWriter> {
    const header: ArchiveHeader = {
      ...about,
      keyVersion: key.version,
      keyCheck: keyCheckOf(key),
      salt: Buffer.from(ids.randomBytes(32)).toString("base64"),
    };
    const bytes = headerBytes(header);
    const draft = await files.create(file, ids.uuid().slice(0, 8));
    const writer = new ArchiveWriter(draft, new ChunkCipher(key, header, bytes));
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
    await this.#draft.finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#draft[Symbol.asyncDispose]();
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
    await this.#draft.write(bytes);
    this.#bytes += bytes.length;
  }
}
