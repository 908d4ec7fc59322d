import { timingSafeEqual } from "node:crypto";
import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import { readKeyEntries } from "../../packages/redis/src/storage-keys/key-entry.ts";
import { noteField, stepInNote } from "../../packages/redis/src/storage-keys/key-note.ts";
import {
  deriveStorageKey,
  type StorageKey,
  StorageKeys,
} from "../../packages/redis/src/storage-keys/storage-keys.ts";

/** More stores than any history has. */
const storesMax = 100;
/** Store id → every storage key that was wrapped for it, which a look at the data needs. */
const wrapped = new Map<string, readonly StorageKey[]>();
/** Store id and note of `{sys}:keys` → the keys that count. */
const known = new Map<string, StorageKeys>();

/**
 * The storage keys of a store whose `{sys}:keys` has these fields; none where no root of trust of this process has wrapped
 * one of them.
 */
export function storageKeysOfStore(
  storeId: string,
  fields: ReadonlyMap<string, string> = new Map(),
): StorageKeys | undefined {
  const note = fields.get(noteField) ?? "";
  const name = `${storeId} ${note}`;
  const found = known.get(name);
  if (found !== undefined) return found;
  const { entries } = readKeyEntries([...fields].flat(), storeId);
  const keys = (wrapped.get(storeId) ?? []).filter(({ number, check }) =>
    entries.some((entry) => entry.number === number && timingSafeEqual(entry.check, check)),
  );
  if (keys.length === 0) return undefined;
  const made = new StorageKeys(storeId, keys, stepInNote(note));
  if (known.size >= storesMax) known.clear();
  known.set(name, made);
  return made;
}

/** A root of trust that notes the storage keys that it wraps. */
export class WatchedRoot extends MemoryRootOfTrust {
  override wrap(plaintext: Uint8Array, additionalData: Uint8Array) {
    const [purpose, region = "", storeId = "", number] = Buffer.from(additionalData)
      .toString()
      .split("\0");
    if (purpose === "holdfast-storage-key") {
      const key = deriveStorageKey(plaintext, { region, storeId, number: Number(number) });
      const before = wrapped.get(storeId) ?? [];
      wrapped.delete(storeId);
      const [oldest] = wrapped.keys();
      if (wrapped.size >= storesMax && oldest !== undefined) wrapped.delete(oldest);
      wrapped.set(storeId, [...before, key]);
    }
    return super.wrap(plaintext, additionalData);
  }
}
