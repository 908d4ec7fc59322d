import { hash } from "node:crypto";
import {
  isSurplus,
  partitionOfTrail,
  sysPartition,
  trailCount,
  uuidText,
  writeUuid,
} from "@holdfast/engine";

/** `{p00}` to `{p63}`, and `{sys}`. */
export function partitionPrefix(partition: number): string {
  return partition === sysPartition ? "{sys}:" : `{p${String(partition).padStart(2, "0")}}:`;
}

/** The keys of a partition that do not depend on an instance or an object. */
export interface PartitionKeys {
  readonly prefix: string;
  /** Store id (16 bytes, the initialisation marker), covered change number (6), least number of a storage key (2). */
  readonly head: string;
  /** Hash: the counters `change`, `promised`, `created`, `audit`, `auditDropped`, `auditBase`. */
  readonly counters: string;
  /** Blocks by change number; member = identifier, tag (16 bytes each), state (a digit). */
  readonly changes: string;
  /** 256 × 16 bytes: XOR of the tags of all objects whose identifier begins with that byte. */
  readonly digests: string;
  /** Stream; the entry's id is its sequence number. */
  readonly audit: string;
  /** Hash: the points of the audit's chain, by number; `head` and `base`. */
  readonly chain: string;
  /** Stream of what instances write beyond their share of `audit`. */
  readonly surplus: string;
  /** Hash: how many entries of each instance are in `audit`; and the counters of `surplus`, as in `counters`. */
  readonly shares: string;
  /** Prefix of records; the identifier's 16 bytes follow. */
  readonly record: string;
  /** Hash: identifier → the agreed operation that holds it; `reserved.lua` describes the value. */
  readonly reserved: string;
  /** Hash: region → up to which number its changes of this partition were read. */
  readonly cursors: string;
  /** Hash: how many objects there are by state and month; `states.lua` describes the fields. */
  readonly states: string;
  /** Hash: what was put aside; `objects/quarantine.ts` describes the fields. */
  readonly quarantine: string;
}

/** The keys of a partition, which are made once; throws a `RangeError` where it does not exist. */
export function partitionKeys(partition: number): PartitionKeys {
  const keys = allPartitions[partition];
  if (keys === undefined) throw new RangeError(`partition ${partition} does not exist`);
  return keys;
}

function keysOf(partition: number): PartitionKeys {
  const prefix = partitionPrefix(partition);
  return {
    prefix,
    head: `${prefix}head`,
    counters: `${prefix}counters`,
    changes: `${prefix}changes`,
    digests: `${prefix}digests`,
    audit: `${prefix}audit`,
    chain: `${prefix}audit-chain`,
    surplus: `${prefix}surplus`,
    shares: `${prefix}shares`,
    record: `${prefix}o:`,
    reserved: `${prefix}reserved`,
    cursors: `${prefix}cursors`,
    states: `${prefix}counts`,
    quarantine: `${prefix}quarantine`,
  };
}

/** The keys of `{sys}`, without head and counters. */
export const sysKeys = {
  /** Eight bytes that markers overwrite. */
  beat: "{sys}:beat",
  /** Hash: address of every replica ever seen → when it was first seen. */
  replicas: "{sys}:replicas",
  replicasVersion: "{sys}:replicas-version",
  /** The region that owns the store: each region has its own Redis. */
  region: "{sys}:region",
  /** Hash: number → storage key, wrapped by the root of trust; `key-entry.ts` describes the value. */
  keys: "{sys}:keys",
  /** The highest epoch of a leader that the store has seen. */
  epoch: "{sys}:epoch",
  /**
   * Hash: which record format each node reads, and which one is required; `formats.lua` describes
   * the fields.
   */
  formats: "{sys}:formats",
  /**
   * Hash: the last resync that was `asked` for, the last that was `reached`, and the one that the
   * last loss asked for (`lost`).
   */
  levels: "{sys}:levels",
  /** Hash: named values of this region's nodes (`LocalValues`). */
  local: "{sys}:local",
  /** Hash: sink and partition → up to which entry the sink has received the audit trail. */
  auditSinks: "{sys}:audit-sinks",
  /** Hash: named texts of the log over the audit trail (`AuditTreeStore`). */
  auditTree: "{sys}:audit-tree",
  /** Stream: runs of the log's leaves; the entry's id is the number of the first. */
  auditLeaves: "{sys}:audit-leaves",
} as const;

/** Keys on which `rehearse.lua` tries what the user may do. */
export const scratchKeys = ["{sys}:scratch", "{p00}:scratch"] as const;

/** The keys of every partition, `{sys}` last. */
export const allPartitions: readonly PartitionKeys[] = Array.from(
  { length: sysPartition + 1 },
  (_, partition) => keysOf(partition),
);

/** The keys of an audit trail; `shares` is that of its partition. */
export type TrailKeys = Pick<PartitionKeys, "head" | "counters" | "audit" | "chain" | "shares">;

/** The keys of every audit trail. */
export const allTrails: readonly TrailKeys[] = Array.from({ length: trailCount }, (_, trail) => {
  const keys = partitionKeys(partitionOfTrail(trail));
  if (!isSurplus(trail)) return keys;
  const { head, prefix, surplus, shares } = keys;
  return { head, counters: shares, audit: surplus, chain: `${prefix}surplus-chain`, shares };
});

/** The keys of one instance in its partition. */
export interface InstanceKeys {
  readonly status: string;
  /** Blocks by creation counter; member = identifier. */
  readonly live: string;
  readonly destroyed: string;
}

/** The keys of an instance. */
export function instanceKeys(prefix: string, instance: string): InstanceKeys {
  const name = escaped(instance);
  return {
    status: `${prefix}s:${name}`,
    live: `${prefix}l:${name}`,
    destroyed: `${prefix}d:${name}`,
  };
}

/** Escapes `:`, which separates the block's number. */
function escaped(instance: string): string {
  return encodeURIComponent(Buffer.from(instance, "utf8").toString("utf8"));
}

/**
 * A record's key: prefix and the identifier's 16 bytes. Undefined where the text is not a lower-case UUID, since then no
 * object has it.
 */
export function recordKey(prefix: string, identifier: string): Buffer | undefined {
  const start = prefix.length;
  const key = Buffer.allocUnsafe(start + 16);
  key.write(prefix, "latin1");
  return writeUuid(identifier, key, start) ? key : undefined;
}

/**
 * The record's key of an identifier of this store; throws a `RangeError` for anything but a
 * lower-case UUID.
 */
export function ownRecordKey(prefix: string, identifier: string): Buffer {
  const key = recordKey(prefix, identifier);
  if (key === undefined) throw new RangeError(`${identifier} is not a lower-case UUID`);
  return key;
}

/** The identifier in an entry of an index; zeros stand for bytes that a damaged entry lacks. */
export function identifierIn(entry: Buffer): string {
  return uuidText(entry.length < 16 ? Buffer.concat([entry], 16) : entry);
}

/** How many buckets of terms a partition has. */
export const bucketCount = 4_096;

/** The key of a bucket of terms. */
export function bucketKey(prefix: string, bucket: number): string {
  return `${prefix}t:${bucket.toString(16).padStart(3, "0")}`;
}

/** Where a term's entries lie: the key of its bucket and the bytes that represent it there. */
export interface TermPlace {
  readonly bucket: string;
  readonly hash: Buffer;
}

/** Longer terms than this hold 128 bits, so that no two names are ever confused (`indexTerms`). */
const plainTermLength = 11;

/** The place of an instance's term. */
export function termPlace(prefix: string, instance: string, term: string): TermPlace {
  const digest = hash("sha256", `${instance}\0${term}`, "buffer");
  const bucket = digest.readUInt16BE(30) % bucketCount;
  const length = term.length > plainTermLength ? 16 : 8;
  return { bucket: bucketKey(prefix, bucket), hash: digest.subarray(0, length) };
}
