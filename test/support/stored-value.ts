import { hash } from "node:crypto";
import { type Change, partitionOf, sysPartition, uuidText } from "@holdfast/engine";
import { newerRecord } from "@holdfast/engine/testing";
import { loadScripts } from "@holdfast/redis";
import { partitionKeys } from "../../packages/redis/src/connection/keys.ts";
import {
  headerAt,
  readPartitionHead,
  readRecordHeader,
} from "../../packages/redis/src/connection/record-header.ts";
import { commitPlan } from "../../packages/redis/src/objects/commit-plan.ts";
import {
  openRecord,
  proveBytes,
  proveRecord,
  type RecordPlace,
} from "../../packages/redis/src/proof/record-proof.ts";
import { readKeyEntries } from "../../packages/redis/src/storage-keys/key-entry.ts";
import { stepInNote } from "../../packages/redis/src/storage-keys/key-note.ts";
import {
  type KeyOpener,
  openStorageKey,
} from "../../packages/redis/src/storage-keys/key-opening.ts";
import {
  type StorageKey,
  StorageKeys,
} from "../../packages/redis/src/storage-keys/storage-keys.ts";
import type { RedisServer } from "./redis.ts";
import { testRoot } from "./redis-store.ts";

/** The place that a record's key names: `{p07}:o:` and the identifier's 16 bytes. */
function placeOf(key: Buffer): RecordPlace {
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
  const { entries } = readKeyEntries(answer, storeId);
  const opened = await Promise.all(entries.map((entry) => openStorageKey(entry, region, root)));
  const keys = opened.map(({ key }) => key);
  return new StorageKeys(
    storeId,
    keys,
    stepInNote(String(await redis.command("hget", "{sys}:keys", "note"))),
  );
}

/** The canonical record in a value. */
export function recordIn(keys: StorageKeys, key: Buffer, value: Buffer): Buffer {
  return openRecord(keys, placeOf(key), value).bytes;
}

/** The canonical record in a value that a region has put aside as another region's copy. */
export function copyIn(keys: StorageKeys, key: Buffer, value: Buffer): Buffer {
  return openRecord(keys, { ...placeOf(key), isCopy: true }, value).bytes;
}

/** A value with another record in it, as a node that has the store's key makes it. */
export function withRecord(
  { newest }: Pick<StorageKeys, "newest">,
  key: Buffer,
  value: Buffer,
  record: Buffer,
  version = readRecordHeader(value)?.version ?? 1,
): Buffer {
  const facts = readRecordHeader(value)?.facts ?? 0;
  const digest = hash("sha256", record);
  const made = proveBytes(newest, placeOf(key), record, { digest, version, facts });
  const numbers = value.subarray(headerAt.promised, headerAt.version);
  return Buffer.concat([made.digest, numbers, made.proof, made.body]);
}

/** A record's value as written by the next release: another format, and proven. */
export function newerValue(keys: StorageKeys, key: Buffer, value: Buffer): Buffer {
  return withRecord(keys, key, value, Buffer.from(newerRecord(recordIn(keys, key, value))));
}

/**
 * Runs the product's own commit script as somebody who can write to Redis does: with any key, and any idea of what was
 * there before. Returns the script's first word.
 */
export async function commitAs(
  key: StorageKey,
  redis: Pick<RedisServer, "command" | "buffers">,
  changes: readonly Change[],
  version = 1,
): Promise<string> {
  const { instance } = changes[0]?.after ?? { instance: "" };
  const partition = partitionOf(instance);
  const head = (await redis.buffers("get", "{sys}:head")) as unknown as Buffer;
  const { storeId = "" } = readPartitionHead(head) ?? {};
  const prove = ({ after }: Change) =>
    proveRecord(key, { partition, identifier: after.uniqueIdentifier }, after, version);
  const stamp = Buffer.from(storeId, "hex");
  const settings = { stamp, prove, auditEntriesMax: 1_000, commonTermMin: 1_000 };
  const { keys, args } = commitPlan(partitionKeys(partition), instance, changes, [], settings, {});
  const { commit } = loadScripts();
  const sha = String(await redis.command("script", "load", commit.source));
  const answer = await redis.command("evalsha", sha, keys.length, ...keys, ...args);
  return String((answer as unknown[])[0]);
}
