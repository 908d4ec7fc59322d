import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hash,
  hkdfSync,
  type KeyObject,
} from "node:crypto";
import { OperatorError } from "../../base/operator-error.ts";

/** An archive's header, which is not encrypted; every chunk is bound to it. */
export interface ArchiveHeader {
  readonly createdMs: number;
  readonly region: string;
  readonly storeId: string;
  /** The release that wrote it. */
  readonly holdfast: string;
  /** The version of the backup key that opens it, and a check value that identifies that key. */
  readonly keyVersion: number;
  readonly keyCheck: string;
  /** 32 random bytes, base64: no two archives are sealed with the same derived key. */
  readonly salt: string;
}

/** One version of the backup key. */
export interface BackupKey {
  readonly version: number;
  readonly key: Uint8Array;
}

/** Why an archive cannot be written or read; one line that says how to fix it. */
export class ArchiveFault extends OperatorError {}

/**
 * An archive has these bytes, the format's number (2 bytes), the header's length (4) and JSON, then
 * chunks of AES-256-GCM in the STREAM construction. Each chunk is 64 KiB and its authentication
 * tag; only the last may be shorter. Its nonce alone marks it as the last.
 */
export const magic = Buffer.from("HOLDFAST-BACKUP\n", "latin1");
/** The one format that this release writes and reads. */
const archiveFormat = 1;
/** Bytes of a chunk's plaintext. */
export const chunkBytes = 64 << 10;
/** Bytes of its authentication tag. */
export const sealBytes = 16;
/** Bytes before the header's JSON. */
export const prefixBytes = magic.length + 6;
const headerBytesMax = 64 << 10;
const algorithm = "aes-256-gcm";
const chunksMax = 2 ** 47;

/** The header as it is in the file. */
export function headerBytes(header: ArchiveHeader): Buffer {
  const json = Buffer.from(JSON.stringify(header), "utf8");
  const prefix = Buffer.alloc(prefixBytes);
  magic.copy(prefix);
  prefix.writeUInt16BE(archiveFormat, magic.length);
  prefix.writeUInt32BE(json.length, magic.length + 2);
  return Buffer.concat([prefix, json]);
}

/** Length of the header's JSON, from the bytes before it; refuses other files, and archives of another format. */
export function headerLength(file: string, prefix: Buffer): number {
  if (!prefix.subarray(0, magic.length).equals(magic)) {
    throw new ArchiveFault(`${file}: this is not a Holdfast backup`);
  }
  if (prefix.length < prefixBytes) throw cutShort(file);
  const format = prefix.readUInt16BE(magic.length);
  if (format !== archiveFormat) {
    throw new ArchiveFault(
      `${file}: format ${format} is not known here, only ${archiveFormat}: use the release that made it`,
    );
  }
  const length = prefix.readUInt32BE(magic.length + 2);
  if (length > headerBytesMax) throw altered(file);
  return length;
}

/** Reads a header's JSON. */
export function parseHeader(file: string, json: Buffer): ArchiveHeader {
  try {
    const said = JSON.parse(json.toString("utf8")) as Record<string, unknown>;
    const { createdMs, region, storeId, holdfast, keyVersion, keyCheck, salt } = said;
    const texts = [region, storeId, holdfast, keyCheck, salt];
    const numbers = [createdMs, keyVersion];
    if (texts.every((one) => typeof one === "string") && numbers.every(Number.isSafeInteger)) {
      return { createdMs, region, storeId, holdfast, keyVersion, keyCheck, salt } as ArchiveHeader;
    }
  } catch {
    // Reported below.
  }
  throw altered(file);
}

/** Identifies a backup key without revealing anything of it. */
export function keyCheckOf({ key }: BackupKey): string {
  return createHmac("sha256", key).update("holdfast-backup-key").digest("hex").slice(0, 16);
}

/** The chunks of one archive, sealed and opened in their order. */
export class ChunkCipher {
  readonly #key: KeyObject;
  #count = 0;

  constructor({ key }: BackupKey, header: ArchiveHeader, bytes: Buffer) {
    const info = Buffer.concat([
      Buffer.from("holdfast-backup-1 "),
      hash("sha256", bytes, "buffer"),
    ]);
    const salt = Buffer.from(header.salt, "base64");
    const derived = Buffer.from(hkdfSync("sha256", key, salt, info, 32));
    this.#key = createSecretKey(derived);
    derived.fill(0);
  }

  /** Chunks so far. */
  get count(): number {
    return this.#count;
  }

  seal(plaintext: Uint8Array, last: boolean): Buffer {
    const cipher = createCipheriv(algorithm, this.#key, this.#nonce(last));
    const sealed = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
    this.#count += 1;
    return sealed;
  }

  /** Opens a chunk; undefined if it was not sealed as this one, and as the last one or not. */
  open(sealed: Buffer, last: boolean): Buffer | undefined {
    const length = sealed.length - sealBytes;
    if (length < 0) return undefined;
    const decipher = createDecipheriv(algorithm, this.#key, this.#nonce(last), {
      authTagLength: sealBytes,
    });
    decipher.setAuthTag(sealed.subarray(length));
    const plaintext = decipher.update(sealed.subarray(0, length));
    try {
      decipher.final();
    } catch {
      plaintext.fill(0);
      return undefined;
    }
    this.#count += 1;
    return plaintext;
  }

  /** The chunk's number (11 bytes) and whether it is the last (1 byte). */
  #nonce(last: boolean): Buffer {
    if (this.#count >= chunksMax) throw new RangeError("an archive has too many chunks");
    const nonce = Buffer.alloc(12);
    nonce.writeUIntBE(this.#count, 5, 6);
    nonce[11] = last ? 1 : 0;
    return nonce;
  }
}

/** The fault of an archive whose end is missing. */
export function cutShort(file: string): ArchiveFault {
  return new ArchiveFault(
    `${file}: the backup is cut short: its end is missing, nothing was taken from it; copy it again or use another`,
  );
}

/** The fault of an archive that is not as it was written. */
export function altered(file: string, at?: number): ArchiveFault {
  const where = at === undefined ? "its header" : `the part at byte ${at}`;
  return new ArchiveFault(
    `${file}: the backup is damaged or was altered (${where}), nothing was taken from it; copy it again or use another`,
  );
}
