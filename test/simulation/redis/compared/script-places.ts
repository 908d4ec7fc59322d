import { hash } from "node:crypto";
import type { RedisModel } from "../redis-model.ts";
import type { Bytes } from "../reply.ts";
import { pack } from "../struct.ts";
import type { Choices } from "./choices.ts";

/** The keys of the partition that scripts are called for. */
export const at = {
  head: "{p00}:head",
  counters: "{p00}:counters",
  changes: "{p00}:changes",
  digests: "{p00}:digests",
  audit: "{p00}:audit",
  chain: "{p00}:audit-chain",
  surplus: "{p00}:surplus",
  shares: "{p00}:shares",
  reserved: "{p00}:reserved",
  states: "{p00}:counts",
  quarantine: "{p00}:quarantine",
  cursors: "{p00}:cursors",
  status: "{p00}:s:i",
  live: "{p00}:l:i",
  destroyed: "{p00}:d:i",
  records: "{p00}:o:",
} as const;

/** The keys of `{sys}`. */
export const sys = {
  head: "{sys}:head",
  beat: "{sys}:beat",
  replicas: "{sys}:replicas",
  replicasVersion: "{sys}:replicas-version",
  region: "{sys}:region",
  keys: "{sys}:keys",
  epoch: "{sys}:epoch",
  formats: "{sys}:formats",
  levels: "{sys}:levels",
  local: "{sys}:local",
  sinks: "{sys}:audit-sinks",
  tree: "{sys}:audit-tree",
  auditLeaves: "{sys}:audit-leaves",
} as const;

export const buckets = ["{p00}:t:000", "{p00}:t:001"];
export const storeId = "0123456789abcdef";
export const instance = "i";
export const operations = ["", "op1", "op2"];
export const months = ["2026", "2027"];
/** Hashes of terms: of a name, and of a short word. */
export const hashes = ["name-hash-of-16b", "word-8bt"];

const identifiers = ["\x00", "A", "A", "\x80", "\xff"].map((first, n) =>
  `${first}identifier-${n}\xfe\x00`.padEnd(16, "_"),
);

/** Sixteen bytes that name an object. */
export function identifier(choose: Choices): Bytes {
  return choose.of(identifiers);
}

/** 32 bytes, of which the first 16 are the tag; new ones for each write. */
export function digest(choose: Choices): Bytes {
  const tag = pack(">I6I6I4", [
    choose.below(0xffff) * 0xfffff,
    choose.below(0xffff),
    choose.below(0xffff) * 0xffff,
  ]);
  return tag + "d".repeat(16);
}

/** The part of a header that nodes make beside the digest, with this version. */
export function proof(version: number): Bytes {
  return `${pack(">I5", [version])}\x80\x00\x01${"m".repeat(16)}`;
}

export function six(number: number): Bytes {
  return pack(">I6", [number]);
}

/** A string that a key holds; empty where it holds none. */
export function peek(model: RedisModel, key: Bytes): Bytes {
  return model.data.typeOf(key) === "string" ? (model.data.text(key) ?? "") : "";
}

export function peekField(model: RedisModel, key: Bytes, field: Bytes): Bytes {
  return model.data.typeOf(key) === "hash" ? (model.data.hash(key)?.get(field) ?? "") : "";
}

export function counter(model: RedisModel, name: string): number {
  return Number(peekField(model, at.counters, name)) || 0;
}

/** Every entry of an index that is kept in blocks. */
export function entriesOf(
  model: RedisModel,
  base: Bytes,
): readonly { score: number; member: Bytes }[] {
  const blocks = model.data
    .keys()
    .filter((key) => key.startsWith(`${base}:`) && model.data.typeOf(key) === "zset");
  return blocks.flatMap((key) => model.data.sortedSet(key)?.entries ?? []);
}

/** A record in the model: what its header and the test's own bytes say. */
export interface Known {
  readonly tag: Bytes;
  readonly digest: Bytes;
  readonly version: number;
  readonly state: Bytes;
  readonly month: Bytes;
  readonly term: number;
  readonly created: number;
}

const headerBytes = 74;

/** What lies under an identifier; undefined without a whole record. */
export function knownRecord(model: RedisModel, id: Bytes): Known | undefined {
  const value = peek(model, at.records + id);
  if (value.length < headerBytes + 6) return undefined;
  const body = value.slice(headerBytes);
  return {
    tag: value.slice(0, 16),
    digest: value.slice(0, 32),
    version: numberIn(value.slice(50, 55)),
    state: body.charAt(0),
    month: body.slice(1, 5),
    term: Number(body.charAt(5)),
    created: numberIn(value.slice(38, 44)),
  };
}

function numberIn(bytes: Bytes): number {
  return [...bytes].reduce((sum, byte) => sum * 256 + byte.charCodeAt(0), 0);
}

export function sha1(bytes: Bytes): string {
  return hash("sha1", Buffer.from(bytes, "latin1"));
}
