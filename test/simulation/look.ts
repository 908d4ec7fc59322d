import {
  decodeRecord,
  type ManagedObject,
  partitionOf,
  type StoredObject,
  sysPartition,
  type Tag,
} from "@holdfast/engine";
import {
  allPartitions,
  allTrails,
  instanceKeys,
  partitionKeys,
  recordKey,
  sysKeys,
} from "../../packages/redis/src/connection/keys.ts";
import {
  headerAt,
  readPartitionHead,
  readRecordHeader,
} from "../../packages/redis/src/connection/record-header.ts";
import { readHold } from "../../packages/redis/src/objects/reservations.ts";
import { split } from "../../packages/redis/src/proof/stored-values.ts";
import { storedFormat } from "../../packages/redis/src/session/formats.ts";
import { noteField, stepInNote } from "../../packages/redis/src/storage-keys/key-note.ts";
import { keySteps, type StorageKeys } from "../../packages/redis/src/storage-keys/storage-keys.ts";
import { proveValue } from "../../packages/redis/src/storage-keys/value-proof.ts";
import { newerValue, recordIn } from "../support/stored-value.ts";
import type { Member } from "./store/member.ts";
import { storageKeysOfStore } from "./watched-root.ts";

/** A record as it lies in a member's data. */
export interface LookedAt {
  readonly object: ManagedObject;
  readonly tag: Tag;
  /** The number of its last change. */
  readonly number: number;
  /** Whether the store has noted that no failover can take it back. */
  readonly covered: boolean;
}

/** Reads a record straight from a member's data, without the store; undefined where it is missing or damaged. */
export function lookAt(member: Member, instance: string, id: string): LookedAt | undefined {
  const { head } = partitionKeys(partitionOf(instance));
  const key = keyOf(instance, id);
  const text = member.redis.data.text(key);
  const { header, object } = text === undefined ? unread : readOnce(member, key, text);
  if (header === undefined || object === undefined) return undefined;
  const covered = readPartitionHead(textOf(member, head))?.covered ?? 0;
  const { tag, changed: number, promised } = header;
  return { object, tag, number, covered: promised <= covered };
}

/** The status of an instance in a member's data; undefined for an unknown one. */
export function statusIn(member: Member, of: string): string | undefined {
  const { prefix } = partitionKeys(partitionOf(of));
  return member.redis.data.text(instanceKeys(prefix, of).status);
}

const { head: sysHead } = partitionKeys(sysPartition);
/** A head begins with the store's id. */
const storeIdLength = 16;

interface Read {
  readonly header: ReturnType<typeof readRecordHeader>;
  readonly object: ManagedObject | undefined;
}

const unread: Read = { header: undefined, object: undefined };
/** Stores, their storage keys, keys and values of records → what they contain: after each answer the same few records are looked at again. */
const lately = new Map<string, Read>();
const latelyMax = 100;

function readOnce(member: Member, key: string, text: string): Read {
  const store = member.redis.data.text(sysHead)?.slice(0, storeIdLength);
  const note = member.redis.data.hash(sysKeys.keys)?.get(noteField);
  const name = `${store} ${note} ${key} ${text}`;
  const known = lately.get(name);
  if (known !== undefined) return known;
  if (lately.size >= latelyMax) lately.clear();
  const value = Buffer.from(text, "latin1");
  const read = { header: readRecordHeader(value), object: objectOf(keysIn(member), key, value) };
  lately.set(name, read);
  return read;
}

function keysIn(member: Member): StorageKeys | undefined {
  return storageKeysOfStore(storeIdIn(member), member.redis.data.hash(sysKeys.keys));
}

function storeIdIn(member: Member): string {
  return readPartitionHead(textOf(member, sysHead))?.storeId ?? "";
}

/** How far the rotation of a store's key is, as a member's data say. */
export function rotationIn(member: Member) {
  const step = stepInNote(member.redis.data.hash(sysKeys.keys)?.get(noteField) ?? "") ?? 0;
  const number = keySteps.newest(step);
  return { storeId: storeIdIn(member), number, isUnderWay: step !== keySteps.only(number) };
}

/** What in a member's data the store's newest storage key does not prove, of all that a rotation replaces. */
export function unprovenIn(member: Member): string | undefined {
  const keys = keysIn(member);
  if (keys === undefined) return "anything";
  const prefixes = allPartitions.map(({ record }) => record);
  const record = valuesAt(member, prefixes).find(
    ({ key, value }) => objectOf(keys, key, value) === undefined,
  );
  if (record !== undefined) return `record ${Buffer.from(record.key, "latin1").toString("hex")}`;
  const hashes = [
    ...allPartitions.map(({ cursors }) => cursors),
    ...allTrails.map(({ chain }) => chain),
    sysKeys.auditSinks,
  ];
  return hashes.find((key) =>
    [...(member.redis.data.hash(key) ?? [])].some(([field, stored]) => {
      const { value, proof } = split(Buffer.from(stored, "latin1"));
      return !proveValue(keys.newest, { key, field }, value).equals(proof);
    }),
  );
}

/** Every record of an instance in a member's data. */
export function objectsIn(member: Member, instance: string): readonly ManagedObject[] {
  const keys = keysIn(member);
  return recordsIn(member, instance).flatMap(({ key, value }) => {
    const object = objectOf(keys, key, value);
    return object?.instance === instance ? [object] : [];
  });
}

/** The value of a record's key in a member's data: header and record. */
export function bytesOf(member: Member, instance: string, id: string): Buffer | undefined {
  return textOf(member, keyOf(instance, id));
}

/** Puts other bytes in the place of a record's, without any of its indexes, also where the store is full. */
export function putBytes(member: Member, instance: string, id: string, bytes: Buffer): void {
  const { redis } = member;
  const isFull = redis.full;
  redis.full = false;
  member.execute(redis.connect(), ["SET", keyOf(instance, id), bytes.toString("latin1")]);
  redis.full = isFull;
}

/** A record's value as written by the next release. */
export function newerIn(member: Member, instance: string, id: string, value: Buffer): Buffer {
  const keys = keysIn(member);
  if (keys === undefined) throw new Error(`the storage keys of ${member.name} are not known`);
  return newerValue(keys, Buffer.from(keyOf(instance, id), "latin1"), value);
}

/** Whether two values have the same record and proof: the rest of the header says what is reserved or covered. */
export function isSameRecord(one: Buffer, other: Buffer): boolean {
  return withRecordOf(one, other).equals(one);
}

/** A value with the record and proof of another one, and with its own place in the store's order. */
export function withRecordOf(value: Buffer, other: Buffer): Buffer {
  const numbers = value.subarray(headerAt.promised, headerAt.version);
  const [digest, rest] = [other.subarray(0, headerAt.promised), other.subarray(headerAt.version)];
  return Buffer.concat([digest, numbers, rest]);
}

function keyOf(instance: string, id: string): string {
  const { record } = partitionKeys(partitionOf(instance));
  return recordKey(record, id)?.toString("latin1") ?? "";
}

/** A stored record as `Member.writeOf` names it. */
export function recordOf({ object: { instance, uniqueIdentifier }, tag }: StoredObject) {
  return { key: keyOf(instance, uniqueIdentifier), value: latin1Of(tag) };
}

/** The key of a record's reservation as `Member.writeOf` names it. */
export function holdKey(instance: string, id: string): string {
  return `${partitionKeys(partitionOf(instance)).reserved}/${latin1Of(id.replaceAll("-", ""))}`;
}

function latin1Of(hex: string): string {
  return Buffer.from(hex, "hex").toString("latin1");
}

/** What a record contains; undefined where it is damaged. */
function objectOf(
  keys: StorageKeys | undefined,
  key: string,
  value: Buffer,
): ManagedObject | undefined {
  if (keys === undefined) return undefined;
  try {
    return decodeRecord(recordIn(keys, Buffer.from(key, "latin1"), value));
  } catch {
    return undefined;
  }
}

/** A text that two members share if they have the same records. */
export function contentOf(member: Member, instance: string): string {
  return recordsIn(member, instance)
    .map(({ key, value }) => {
      const name = Buffer.from(key, "latin1").toString("hex");
      return `${name} ${value.toString("hex", 0, 16)}`;
    })
    .toSorted()
    .join();
}

/** How many records are reserved, and how many are in quarantine. */
export function openIn(member: Member): { readonly reserved: number; readonly aside: number } {
  const sizeOf = (key: string): number => member.redis.data.hash(key)?.size ?? 0;
  return {
    reserved: allPartitions.reduce((sum, { reserved }) => sum + sizeOf(reserved), 0),
    aside: allPartitions.reduce((sum, { quarantine }) => sum + sizeOf(quarantine), 0),
  };
}

/** The agreed operations that hold records. */
export function operationsIn(member: Member): ReadonlySet<string> {
  const holds = allPartitions.flatMap(({ reserved }) => [
    ...(member.redis.data.hash(reserved)?.values() ?? []),
  ]);
  return new Set(holds.map((hold) => readHold(Buffer.from(hold, "latin1")).operation));
}

function recordsIn(member: Member, instance: string) {
  return valuesAt(member, [partitionKeys(partitionOf(instance)).record]);
}

function valuesAt(member: Member, prefixes: readonly string[]) {
  return member.redis.data
    .keys()
    .filter((key) => prefixes.some((prefix) => key.startsWith(prefix)))
    .flatMap((key) => {
      const value = textOf(member, key);
      return value === undefined ? [] : [{ key, value }];
    });
}

function textOf(member: Member, key: string): Buffer | undefined {
  const text = member.redis.data.text(key);
  return text === undefined ? undefined : Buffer.from(text, "latin1");
}

/** The format of records that a member's data require of every node; 0 if they do not say. */
export function requiredFormat(member: Member): number {
  const required = Number(member.redis.data.hash(sysKeys.formats)?.get("required") ?? 0);
  return Math.max(0, required - storedFormat(0));
}
