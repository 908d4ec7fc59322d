import type { SinkPoint } from "../audit-log.ts";
import { leafHash } from "./merkle-tree.ts";

/*
 * What the leaves of a region's audit log are. An event's leaf is partition (1 byte), number (6 bytes, big-endian) and
 * the entry as the store has it. After the events of each step follows one leaf with the heads of all partitions.
 */

/** Which leaf of the log is whose: an event of a partition, or the heads. */
export interface AuditLeaf {
  /** `headsLeaf` for the heads. */
  readonly partition: number;
  readonly number: number;
  readonly hash: Uint8Array;
}

/** The partition of a leaf with heads. */
export const headsLeaf = 255;

const leafLength = 7 + 32;

/** The bytes of an event's leaf. */
export function eventLeaf(partition: number, number: number, entry: Uint8Array): Buffer {
  const leaf = Buffer.allocUnsafe(7 + entry.length);
  leaf[0] = partition;
  leaf.writeUIntBE(number, 1, 6);
  leaf.set(entry, 7);
  return leaf;
}

/** Leaves as the store keeps them: partition, number and hash of each. */
export function writeLeaves(leaves: readonly AuditLeaf[]): Buffer {
  const all = Buffer.allocUnsafe(leaves.length * leafLength);
  let at = 0;
  for (const { partition, number, hash } of leaves) {
    all[at] = partition;
    all.writeUIntBE(number, at + 1, 6);
    all.set(hash, at + 7);
    at += leafLength;
  }
  return all;
}

/** Undefined for malformed bytes. */
export function readLeaves(bytes: Uint8Array): readonly AuditLeaf[] | undefined {
  const all = Buffer.from(bytes);
  if (all.length % leafLength !== 0) return undefined;
  return Array.from({ length: all.length / leafLength }, (_, at) => {
    const leaf = all.subarray(at * leafLength, (at + 1) * leafLength);
    return {
      partition: leaf[0] ?? 0,
      number: leaf.readUIntBE(1, 6),
      hash: leaf.subarray(7),
    };
  });
}

/** What a log states of one partition: the point of the chain that it reached, and how much retention has removed. */
export interface AuditHead extends SinkPoint {
  /** Entries up to this number may be missing: retention removes no others. */
  readonly removed: number;
}

/** What a log states of a store's whole trail. */
export interface AuditHeads {
  readonly storeId: string;
  /** By partition; those without entries are left out. */
  readonly heads: ReadonlyMap<number, AuditHead>;
}

const title = "holdfast audit heads 1";

/** The heads as the text that is in the log. */
export function writeHeads({ storeId, heads }: AuditHeads): string {
  const lines = [...heads]
    .toSorted(([one], [other]) => one - other)
    .map(([partition, { removed, number, hash }]) => {
      return `${partition} ${removed} ${number} ${Buffer.from(hash).toString("hex")}`;
    });
  return [title, `store ${storeId}`, ...lines, ""].join("\n");
}

/** Undefined for a malformed text. */
export function readHeads(text: string): AuditHeads | undefined {
  const [first, store = "", ...lines] = text.split("\n");
  const storeId = /^store ([0-9a-z-]{1,64})$/.exec(store)?.[1];
  if (first !== title || storeId === undefined || lines.pop() !== "" || lines.length > headsLeaf) {
    return undefined;
  }
  const heads = new Map<number, AuditHead>();
  for (const line of lines) {
    const parts = /^(\d{1,3}) (\d{1,15}) (\d{1,15}) ([0-9a-f]{64})$/.exec(line);
    if (parts === null) return undefined;
    const [partition, removed, number] = parts.slice(1, 4).map(Number) as [number, number, number];
    heads.set(partition, { removed, number, hash: Buffer.from(parts[4] ?? "", "hex") });
  }
  const read = { storeId, heads };
  return writeHeads(read) === text ? read : undefined;
}

/** The hash of the leaf with these heads. */
export function headsHash(text: string): Buffer {
  return leafHash(Buffer.from(text));
}
