import { hash } from "node:crypto";
import { sysPartition, uuidText } from "@holdfast/engine";
import { newerRecord } from "@holdfast/engine/testing";
import {
  headerAt,
  readPartitionHead,
  readRecordHeader,
  recordHeaderLength,
} from "../../packages/redis/src/connection/record-header.ts";
import { deriveStorageKey, StorageKeys } from "../../packages/redis/src/connection/storage-keys.ts";
import {
  factBits,
  openRecord,
  proveBytes,
  type RecordPlace,
} from "../../packages/redis/src/objects/record-proof.ts";
import type { RedisServer } from "./redis.ts";

/** The place that a record's key names: `{p07}:o:` and the identifier's 16 bytes. */
export function placeOf(key: Buffer): RecordPlace {
  const [, name = ""] = /^\{(\w+)\}:o:/.exec(key.toString("latin1")) ?? [];
  const partition = name === "sys" ? sysPartition : Number(name.slice(1));
  return { partition, identifier: uuidText(key.subarray(-16)) };
}

/** The storage keys of a store, as its nodes have them. */
export function storageKeysFor(storeId: string, region: string): StorageKeys {
  const name = { storeId, region, number: 1 };
  return new StorageKeys(storeId, [deriveStorageKey(new Uint8Array(32), name)]);
}

/** The storage keys of the store in a Redis. */
export async function storageKeysOf(
  redis: Pick<RedisServer, "command" | "buffers">,
): Promise<StorageKeys> {
  const head = (await redis.buffers("get", "{sys}:head")) as unknown as Buffer;
  const region = (await redis.command("get", "{sys}:region")) as string | null;
  return storageKeysFor(readPartitionHead(head)?.storeId ?? "", region ?? "");
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
