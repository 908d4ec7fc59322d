import { createCipheriv, createDecipheriv, hash } from "node:crypto";
import type { RememberedKeys } from "../storage-keys/held-keys.ts";
import { parsedFields } from "../storage-keys/key-entry.ts";
import { readRow, rowLength } from "./memory-table.ts";

/** What a memory file begins with, in clear: whose it is, and its key, wrapped by the root of trust. */
export interface MemoryHeader {
  readonly region: string;
  readonly node: string;
  /** The name of the root key that wrapped the file's key. */
  readonly rootOfTrust: string;
  readonly wrap: Uint8Array;
}

/** What a row of a block says. */
export type MemoryRow =
  /** A store that the node has met; rows that follow are of the last one. */
  | { readonly kind: "store"; readonly storeId: string }
  | { readonly kind: "record"; readonly row: Buffer }
  /** Up to which change number a partition is known to be covered. */
  | { readonly kind: "covered"; readonly partition: number; readonly number: number }
  /** Which storage keys of the store counted. */
  | ({ readonly kind: "keys" } & RememberedKeys)
  /** The last order of an operator that the memory has carried out, and whether the node doubts the store. */
  | { readonly kind: "trust"; readonly accepted: number; readonly doubted: boolean };

/** Bytes of the key of a file. */
export const fileKeyBytes = 32;

const magic = Buffer.from("holdfast-memory1", "latin1");
const headerMax = 16_384;
const nonceLength = 12;
const tagLength = 16;
/** Most bytes of rows in one block. */
const blockMax = 1 << 16;
/** Kinds of rows, and the bytes that follow the kind. */
const rowKinds = { 1: 16, 2: rowLength, 3: 7, 4: 20, 5: 7 } as const;

/** The bytes of a header. */
export function writeHeader({ region, node, rootOfTrust, wrap }: MemoryHeader): Buffer {
  const fields = { region, node, root: rootOfTrust, wrap: Buffer.from(wrap).toString("base64") };
  const text = Buffer.from(JSON.stringify(fields));
  const length = Buffer.alloc(2);
  length.writeUInt16BE(text.length);
  return Buffer.concat([magic, length, text]);
}

/** Reads the header of a file, and how long it is; undefined where the file holds something else. */
export function readHeader(
  bytes: Buffer,
): { readonly header: MemoryHeader; readonly length: number } | "damaged" | undefined {
  const start = magic.length + 2;
  const begin = bytes.subarray(0, magic.length);
  if (!begin.equals(magic.subarray(0, begin.length))) return undefined;
  if (bytes.length < start) return "damaged";
  const length = start + bytes.readUInt16BE(magic.length);
  if (length > headerMax || length > bytes.length) return "damaged";
  const fields = parsedFields(bytes.toString("utf8", start, length));
  const [region, node, rootOfTrust, wrap] = ["region", "node", "root", "wrap"].map((name) => {
    const value = fields[name];
    return typeof value === "string" && value !== "" ? value : undefined;
  });
  if (region === undefined || node === undefined || rootOfTrust === undefined) return "damaged";
  if (wrap === undefined || !/^[A-Za-z0-9+/]+={0,2}$/.test(wrap)) return "damaged";
  return { header: { region, node, rootOfTrust, wrap: Buffer.from(wrap, "base64") }, length };
}

/** The row that names a store. */
export function storeRow(storeId: string): Buffer {
  return Buffer.concat([Buffer.of(1), Buffer.from(storeId, "hex")]);
}

/** Rows of records from rows of the table, one after another. */
export function recordRows(rows: Buffer): Buffer[] {
  return Array.from({ length: rows.length / rowLength }, (_, at) =>
    Buffer.concat([Buffer.of(2), rows.subarray(at * rowLength, (at + 1) * rowLength)]),
  );
}

/** The row of a covered number. */
export function coveredRow(partition: number, number: number): Buffer {
  const row = Buffer.alloc(8);
  row.writeUInt8(3);
  row.writeUInt8(partition, 1);
  row.writeUIntBE(number, 2, 6);
  return row;
}

/** The row of the store's keys: the step, and the check value of the newest key. */
export function keysRow({ step, check }: RememberedKeys): Buffer {
  const row = Buffer.alloc(1 + 4 + 16);
  row.writeUInt8(4);
  row.writeUInt32BE(step, 1);
  row.set(check.subarray(0, 16), 5);
  return row;
}

/** The row of an order and a doubt. */
export function trustRow(accepted: number, doubted: boolean): Buffer {
  const row = Buffer.alloc(8);
  row.writeUInt8(5);
  row.writeUIntBE(accepted, 1, 6);
  row.writeUInt8(doubted ? 1 : 0, 7);
  return row;
}

/**
 * Seals rows into blocks, each of which is bound to the one before it, and the first to the header: length (4 bytes),
 * nonce (12), AES-256-GCM, tag (16).
 */
export class BlockWriter {
  readonly #key: Buffer;
  readonly #random: (count: number) => Uint8Array;
  #before: Buffer;

  constructor(key: Buffer, header: Buffer, random: (count: number) => Uint8Array) {
    this.#key = key;
    this.#before = beginning(header);
    this.#random = random;
  }

  /** The blocks of these rows, none of which is cut in two. */
  write(rows: readonly Buffer[]): Buffer {
    const blocks: Buffer[] = [];
    let content: Buffer[] = [];
    let bytes = 0;
    const close = (): void => {
      if (bytes > 0) blocks.push(this.#seal(Buffer.concat(content)));
      content = [];
      bytes = 0;
    };
    for (const row of rows) {
      if (bytes + row.length > blockMax) close();
      content.push(row);
      bytes += row.length;
    }
    close();
    return Buffer.concat(blocks);
  }

  #seal(content: Buffer): Buffer {
    const nonce = Buffer.from(this.#random(nonceLength));
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonce).setAAD(this.#before);
    const sealed = Buffer.concat([cipher.update(content), cipher.final()]);
    this.#before = cipher.getAuthTag();
    const length = Buffer.alloc(4);
    length.writeUInt32BE(nonceLength + sealed.length + tagLength);
    return Buffer.concat([length, nonce, sealed, this.#before]);
  }
}

/** One block of a file, or how the file ends. */
export type Block = readonly MemoryRow[] | "torn" | "damaged";

/**
 * The blocks of a file after its header. The last one may be torn, where a write was cut short; after a damaged one nothing
 * is read.
 */
export function* readBlocks(key: Buffer, bytes: Buffer, headerLength: number): Iterable<Block> {
  let before = beginning(bytes.subarray(0, headerLength));
  for (let at = headerLength; at < bytes.length; ) {
    const length = at + 4 <= bytes.length ? bytes.readUInt32BE(at) : undefined;
    const isPossible =
      length === undefined ||
      (length > nonceLength + tagLength && length <= nonceLength + blockMax + tagLength);
    if (!isPossible) return yield "damaged";
    if (length === undefined || at + 4 + length > bytes.length) return yield "torn";
    const block = bytes.subarray(at + 4, at + 4 + length);
    const rows = rowsOf(unsealed(key, before, block));
    if (rows === undefined) return yield "damaged";
    yield rows;
    before = Buffer.from(block.subarray(length - tagLength));
    at += 4 + length;
  }
}

function beginning(header: Buffer): Buffer {
  return hash("sha256", header, "buffer").subarray(0, tagLength);
}

function unsealed(key: Buffer, before: Buffer, block: Buffer): Buffer | undefined {
  const end = block.length - tagLength;
  const nonce = block.subarray(0, nonceLength);
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagLength });
  decipher.setAAD(before).setAuthTag(block.subarray(end));
  const content = decipher.update(block.subarray(nonceLength, end));
  try {
    return Buffer.concat([content, decipher.final()]);
  } catch {
    return undefined;
  }
}

/** The rows of a block's content; undefined where it is none. */
export function rowsOf(content: Buffer | undefined): readonly MemoryRow[] | undefined {
  if (content === undefined) return undefined;
  const rows: MemoryRow[] = [];
  for (let at = 0; at < content.length; ) {
    const kind = content.readUInt8(at);
    if (!isKind(kind)) return undefined;
    const row = rowOfKind(kind, content.subarray(at + 1, at + 1 + rowKinds[kind]));
    if (row === undefined) return undefined;
    rows.push(row);
    at += 1 + rowKinds[kind];
  }
  return rows;
}

function isKind(kind: number): kind is keyof typeof rowKinds {
  return kind in rowKinds;
}

/** Undefined for bytes that are no row of this kind. */
function rowOfKind(kind: keyof typeof rowKinds, row: Buffer): MemoryRow | undefined {
  if (row.length < rowKinds[kind]) return undefined;
  if (kind === 1) return { kind: "store", storeId: row.toString("hex") };
  if (kind === 3) {
    return { kind: "covered", partition: row.readUInt8(), number: row.readUIntBE(1, 6) };
  }
  if (kind === 4) {
    return { kind: "keys", step: row.readUInt32BE(), check: Uint8Array.from(row.subarray(4)) };
  }
  if (kind === 5) {
    return { kind: "trust", accepted: row.readUIntBE(0, 6), doubted: row.readUInt8(6) !== 0 };
  }
  return readRow(row) && { kind: "record", row };
}
