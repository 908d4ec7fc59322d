import { hash } from "node:crypto";
import { sysPartition, uuidText } from "@holdfast/engine";
import { newerRecord } from "@holdfast/engine/testing";
import { readKeyEntries } from "../../packages/redis/src/storage-keys/key-entry.ts";
import {
  headerAt,
  readPartitionHead,
  readRecordHeader,
  recordHeaderLength,
} from "../../packages/redis/src/connection/record-header.ts";
import { StorageKeys } from "../../packages/redis/src/storage-keys/storage-keys.ts";
import {
  factBits,
  openRecord,
  proveBytes,
  type RecordPlace,
} from "../../packages/redis/src/proof/record-proof.ts";
import { type KeyOpener, openStorageKey } from "../../packages/redis/src/storage-keys/held-keys.ts";
import type { RedisServer } from "./redis.ts";
import { testRoot } from "./redis-store.ts";

/** The place that a record's key names: `{p07}:o:` and the identifier's 16 bytes. */
export function placeOf(key: Buffer): RecordPlace {
  const [, name = ""] = /^\{(\w+)\}:o:/.exec(key.toString("latin1")) ?? [];
  const partition = name === "sys" ? sysPartition : Number(name.slice(1));
  return { partition, identifier: uuidText(key.subarray(-16)) };
}

/** The storage keys of the store in a Redis, as its nodes open them. */
export async function storageKeysOf(
  redis: Pick<RedisServer, "command" | "buffers">,
  root: KeyOpener = testRoot,
): Promise<StorageKeys> {
  const head = (await redis.buffers("get", "{sys}:head")) as unknown as Buffer;
  const region = (await redis.command("get", "{sys}:region")) as string;
  const answer = await redis.command("hgetall", "{sys}:keys");
  const { storeId = "" } = readPartitionHead(head) ?? {};
  const entries = readKeyEntries(answer, storeId, "");
  const keys = entries.map((entry) => openStorageKey(entry, region, root));
  return new StorageKeys(storeId, await Promise.all(keys));
}

/** The canonical record in a value. */
export function recordIn(keys: StorageKeys, key: Buffer, value: Buffer): Buffer {
  return openRecord(keys, placeOf(key), value).bytes;
}

/** A value with another record in it, as a node that has the store's key makes it. */
export function withRecord(
  keys: StorageKeys,
  key: Buffer,
  value: Buffer,
  record: Buffer,
  version = readRecordHeader(value)?.version ?? 1,
): Buffer {
  const facts = readRecordHeader(value)?.facts ?? 0;
  const digest = hash("sha256", record);
  const made = proveBytes(keys.newest, placeOf(key), record, { digest, version, facts });
  const numbers = value.subarray(headerAt.promised, headerAt.version);
  return Buffer.concat([made.digest, numbers, made.proof, made.body]);
}

/** A record's value as written by the next release: another format, and proven. */
export function newerValue(keys: StorageKeys, key: Buffer, value: Buffer): Buffer {
  return withRecord(keys, key, value, Buffer.from(newerRecord(recordIn(keys, key, value))));
}

/** A value as somebody makes it who has no key: another record, its digest, and the rest of the header as it was. */
export function forgedValue(value: Buffer, record: Buffer): Buffer {
  const rest = value.subarray(headerAt.promised, recordHeaderLength);
  return Buffer.concat([hash("sha256", record, "buffer"), rest, record]);
}

/** The bit that says that a value's body is sealed. */
export const sealedBit = factBits.sealed;
