import { type Entry, EntryParser } from "./archive-entries.ts";
import { type ArchiveFile, type ArchiveFiles, diskFiles } from "./archive-files.ts";
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
  readonly #bytes: ArchiveFile;
  readonly #key: BackupKey;
  readonly #head: Buffer;

  private constructor(
    file: string,
    bytes: ArchiveFile,
    { header, head }: { readonly header: ArchiveHeader; readonly head: Buffer },
    key: BackupKey,
  ) {
    this.file = file;
    this.header = header;
    this.#bytes = bytes;
    this.#head = head;
    this.#key = key;
  }

  /** Opens an archive with the version of the key that it names; rejects with an `ArchiveFault`. */
  static async open(
    file: string,
    keys: readonly BackupKey[],
    files: ArchiveFiles = diskFiles,
  ): Promise<ArchiveReader> {
    const bytes = await files.open(file);
    try {
      const read = await readHeader(file, bytes);
      return new ArchiveReader(file, bytes, read, keyFor(file, read.header, keys));
    } catch (error) {
      await bytes[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** In bytes. */
  get size(): number {
    return this.#bytes.size;
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
      const bytes = await this.#bytes.read(at, chunksPerRead * sealedBytes + 1);
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
    await this.#bytes[Symbol.asyncDispose]();
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

async function readHeader(file: string, bytes: ArchiveFile) {
  const prefix = await bytes.read(0, prefixBytes);
  const length = headerLength(file, prefix);
  const json = await bytes.read(prefixBytes, length);
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
