import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import {
  deriveStorageKey,
  StorageKeys,
} from "../../packages/redis/src/storage-keys/storage-keys.ts";

/** More stores than any history has. */
const storesMax = 100;
/** Store id → its storage keys, which a look at the data needs. */
const known = new Map<string, StorageKeys>();

/** The storage keys of a store; none where no root of trust of this process has wrapped one. */
export function storageKeysOfStore(storeId: string): StorageKeys | undefined {
  return known.get(storeId);
}

/** A root of trust that notes the storage keys that it wraps. */
export class WatchedRoot extends MemoryRootOfTrust {
  override wrap(plaintext: Uint8Array, additionalData: Uint8Array) {
    const [purpose, region = "", storeId = "", number] = Buffer.from(additionalData)
      .toString()
      .split("\0");
    if (purpose === "holdfast-storage-key") {
      const key = deriveStorageKey(plaintext, { region, storeId, number: Number(number) });
      known.delete(storeId);
      const [oldest] = known.keys();
      if (known.size >= storesMax && oldest !== undefined) known.delete(oldest);
      known.set(storeId, new StorageKeys(storeId, [key]));
    }
    return super.wrap(plaintext, additionalData);
  }
}
