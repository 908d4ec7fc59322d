import { StoreUnavailable } from "../../base/errors.ts";
import type { AuditEntry } from "../audit-log.ts";
import { headsHash, readHeads } from "./audit-leaves.ts";
import { MerkleRange } from "./merkle-tree.ts";
import { readCheckpointNote, strictBase64 } from "./signed-note.ts";

/** A change of the stored tree: all of it, or nothing. */
export interface TreeWrite {
  /** The tree's size must be this; left out, it may be any. */
  readonly size?: number;
  /** Everything of another tree is removed first. */
  readonly anew?: boolean;
  /** The number of the first new leaf, and the leaves. */
  readonly leaves?: { readonly first: number; readonly bytes: Uint8Array };
  /** Leaves below are removed. */
  readonly keepFrom?: number;
  readonly fields: ReadonlyMap<string, string>;
}

/**
 * Where a region's own store keeps the log over its audit trail: leaves, and named texts. Every implementation passes
 * `auditTreeConformance`. Rejects like `AuditLog`.
 */
export interface AuditTreeStore {
  /** Named texts, as no fail-over can take them back. */
  texts(names: readonly string[]): Promise<readonly (string | undefined)[]>;
  /**
   * Runs of leaves, oldest first: the number of the first leaf, and what `writeLeaves` makes. The first run is the one
   * that begins at `from`, or the next.
   */
  runs(from: number, limit: number): Promise<readonly AuditEntry[]>;
  /** False if the size is another. Resolves when no fail-over can take it back. */
  write(write: TreeWrite, epoch: number): Promise<boolean>;
}

/** The names of texts. */
export const treeTexts = {
  /** Decimal; what `TreeWrite.size` is compared with. */
  size: "size",
  /** The last step: `SignedHeads`. */
  last: "last",
  /** The range of the leaves that are removed. */
  base: "base",
  witness: (name: string) => `witness/${name}`,
  /** What a witness was asked to cosign last: it may have done so, although its answer was lost. */
  asked: (name: string) => `asked/${name}`,
} as const;

/** A checkpoint whose last leaf has the heads, and the tree before that leaf. */
export interface SignedHeads {
  readonly before: MerkleRange;
  readonly heads: string;
  /** The checkpoint with its signatures. */
  readonly note: string;
}

/** What is known of a witness: what it cosigned last. */
export interface WitnessedHeads extends SignedHeads {
  /** The range of removed leaves after the size that was cosigned, if leaves after it were removed. */
  readonly since?: MerkleRange | undefined;
}

/** The number of leaves of the tree that is signed. */
export function sizeOfHeads({ before }: SignedHeads): number {
  return before.end + 1;
}

/** The whole tree that is signed. */
export function treeOfHeads({ before, heads }: SignedHeads): MerkleRange {
  const tree = before.copy();
  tree.append(headsHash(heads));
  return tree;
}

interface RangeText {
  readonly begin: number;
  readonly end: number;
  readonly hashes: readonly string[];
}

/** A range as text. */
export function writeRange(range: MerkleRange): string {
  return JSON.stringify(rangeText(range));
}

function rangeText({ begin, end, hashes }: MerkleRange): RangeText {
  return { begin, end, hashes: hashes.map((hash) => Buffer.from(hash).toString("base64")) };
}

/** Throws `StoreUnavailable("corrupt")` for a malformed text. */
export function readRange(text: string): MerkleRange {
  return rangeOf(parsed(text)) ?? malformed();
}

/** Signed heads as text. */
export function writeSigned({ before, heads, note, since }: WitnessedHeads): string {
  return JSON.stringify({
    before: rangeText(before),
    heads,
    note,
    ...(since && { since: rangeText(since) }),
  });
}

/** Throws `StoreUnavailable("corrupt")` if the text is malformed, or its checkpoint is of another tree. */
export function readSigned(text: string): WitnessedHeads {
  const { before, heads, note, since } = recordOf(parsed(text));
  const range = rangeOf(before);
  if (range === undefined || range.begin !== 0) malformed();
  if (typeof heads !== "string" || typeof note !== "string") malformed();
  const signed = { before: range, heads, note, since: since ? rangeOf(since) : undefined };
  const read = readCheckpointNote(note);
  const tree = treeOfHeads(signed);
  const fits = read?.size === tree.end && tree.root().every((byte, at) => byte === read.root[at]);
  if (!fits || readHeads(heads) === undefined) malformed();
  return signed;
}

function rangeOf(value: unknown): MerkleRange | undefined {
  const { begin, end, hashes } = recordOf(value);
  if (!isCount(begin) || !isCount(end) || begin > end || !Array.isArray(hashes)) return undefined;
  if (hashes.length > 128) return undefined;
  const bytes = hashes.map((hash) => strictBase64(String(hash)) ?? Buffer.alloc(0));
  return MerkleRange.from(begin, end, bytes);
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) < 2 ** 48;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return malformed();
  }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function malformed(): never {
  throw new StoreUnavailable("corrupt", "the audit log's state in the store is malformed");
}
