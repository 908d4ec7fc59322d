import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type Entry, EntryParser } from "./archive-entries.ts";
import {
  ArchiveFault,
  type ArchiveHeader,
  altered,
  type BackupKey,
  ChunkCipher,
  chunkBytes,
  cutShort,
  headerLength,
  keyCheckOf,
  parseHeader,
  prefixBytes,
  sealBytes,
} from "./archive-format.ts";
import { wordsFor } from "./archive-writer.ts";

const sealedBytes = chunkBytes + sealBytes;
const chunksPerRead = 16;

/** A chunk, whether nothing follows it, and where it begins. */
interface SealedChunk {
  readonly sealed: Buffer;
  readonly last: boolean;
  readonly at: number;
}

/** Reads an archive; each call of `entries` begins at its start. */
export class ArchiveReader implements AsyncDisposable {
  readonly file: string;
  readonly header: ArchiveHeader;
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #key: BackupKey;
  readonly #head: Buffer;

  private constructor(
    file: string,
    { handle, size }: { readonly handle: FileHandle; readonly size: number },
    { header, head }: { readonly header: ArchiveHeader; readonly head: Buffer },
    key: BackupKey,
  ) {
    this.file = file;
    this.size = size;
    this.header = header;
    this.#handle = handle;
    this.#head = head;
    this.#key = key;
  }

  /** Opens an archive with the version of the key that it names; rejects with an `ArchiveFault`. */
  static async open(file: string, keys: readonly BackupKey[]): Promise<ArchiveReader> {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW).catch(
      (error: unknown) => {
        throw new ArchiveFault(`${file}: ${wordsFor(error)}`);
      },
    );
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) throw new ArchiveFault(`${file}: this is not a file`);
      const read = await readHeader(file, handle);
      const key = keyFor(file, read.header, keys);
      return new ArchiveReader(file, { handle, size: stats.size }, read, key);
    } catch (error) {
      await handle.close();
      throw error instanceof ArchiveFault ? error : new ArchiveFault(`${file}: ${wordsFor(error)}`);
    }
  }

  /** Its entries, authenticated; rejects with an `ArchiveFault` if one is altered or missing. */
  async *entries(progress: (bytes: number) => void = () => undefined): AsyncGenerator<Entry> {
    const cipher = new ChunkCipher(this.#key, this.header, this.#head);
    const parser = new EntryParser();
    for await (const { sealed, last, at } of this.#chunks()) {
      const plain = cipher.open(sealed, last);
      if (plain === undefined) throw this.#fault(cipher, sealed, last, at);
      const entries = parser.push(plain);
      if (entries === undefined) throw altered(this.file, at);
      yield* entries;
      progress(at + sealed.length);
    }
    if (parser.pending > 0) throw altered(this.file, this.size);
  }

  /** The chunks in the order of the file; at least one. */
  async *#chunks(): AsyncGenerator<SealedChunk> {
    let at = this.#head.length;
    for (let more = true; more; ) {
      // One byte more than the chunks shows whether something follows them.
      const bytes = await readAt(this.#handle, at, chunksPerRead * sealedBytes + 1);
      more = bytes.length > chunksPerRead * sealedBytes;
      const end = more ? bytes.length - 1 : bytes.length;
      let from = 0;
      do {
        const sealed = bytes.subarray(from, Math.min(from + sealedBytes, end));
        yield { sealed, last: !more && from + sealedBytes >= end, at: at + from };
        from += sealedBytes;
      } while (from < end);
      at += end;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  /** If the last chunk in the file opens as one in the middle, the archive was cut after it. */
  #fault(cipher: ChunkCipher, sealed: Buffer, last: boolean, at: number): ArchiveFault {
    if (last && (sealed.length < sealBytes || cipher.open(sealed, false) !== undefined)) {
      return cutShort(this.file);
    }
    return last && sealed.length < sealedBytes
      ? new ArchiveFault(
          `${this.file}: the backup is cut short or damaged at its end (byte ${at}), nothing was taken from it; copy it again or use another`,
        )
      : altered(this.file, at);
  }
}

async function readHeader(file: string, handle: FileHandle) {
  const prefix = await readAt(handle, 0, prefixBytes);
  const length = headerLength(file, prefix);
  const json = await readAt(handle, prefixBytes, length);
  if (json.length < length) throw cutShort(file);
  return { header: parseHeader(file, json), head: Buffer.concat([prefix, json]) };
}

function keyFor(file: string, header: ArchiveHeader, keys: readonly BackupKey[]): BackupKey {
  const key = keys.find((one) => keyCheckOf(one) === header.keyCheck);
  if (key !== undefined) return key;
  throw new ArchiveFault(
    `${file}: it was sealed under version ${header.keyVersion} of another backup key than backup.keyFile holds: give the key file of region ${header.region} as it was on ${new Date(header.createdMs).toISOString()}`,
  );
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}
