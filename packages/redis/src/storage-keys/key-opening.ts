import { timingSafeEqual } from "node:crypto";
import { type RootOfTrust, RootOfTrustError, SealBroken, StoreUnavailable } from "@holdfast/engine";
import { type KeyEntry, storageKeyData } from "./key-entry.ts";
import { deriveStorageKey, type StorageKey } from "./storage-keys.ts";

/** The part of a root of trust that opens storage keys. */
export type KeyOpener = Pick<RootOfTrust, "unwrap" | "describe">;

/** An entry is not as a node has written it. */
export class KeyEntryDamaged extends StoreUnavailable {
  constructor(message: string, options?: ErrorOptions) {
    super("unsafe", message, options);
  }
}

/** A storage key, and the version of the root key that its wrap has. */
export interface OpenedKey {
  readonly key: StorageKey;
  readonly version: string;
}

/** Opens a storage key by its entry; rejects with `StoreUnavailable` or what the root of trust throws. */
export async function openStorageKey(
  entry: KeyEntry,
  region: string,
  root: Pick<KeyOpener, "unwrap">,
): Promise<OpenedKey> {
  const name = { ...entry, region };
  const { plaintext, version } = await root.unwrap(entry.wrap, storageKeyData(name));
  try {
    const key = deriveStorageKey(plaintext, name);
    refuseOther(key, entry);
    return { key, version };
  } finally {
    plaintext.fill(0);
  }
}

/** What a failure to open a stored entry means: a wrap by the root key that opens it was damaged. */
export async function openFailure(
  error: unknown,
  entry: KeyEntry,
  root: Pick<KeyOpener, "describe">,
): Promise<StoreUnavailable> {
  if (!(error instanceof SealBroken)) return keyFailure(error, entry);
  const described = await root.describe().catch(() => undefined);
  if (described?.name !== entry.rootOfTrust) return keyFailure(error, entry);
  return new KeyEntryDamaged(
    `${damaged(entry.number)}, or the configured root key only has the name of the one that wrapped it ("${entry.rootOfTrust}"): docs/storage-key.md says what to do`,
    { cause: error },
  );
}

/** What a failure to open or wrap a storage key means for its store. */
export function keyFailure(
  error: unknown,
  entry: Pick<KeyEntry, "number" | "storeId" | "rootOfTrust">,
): StoreUnavailable {
  if (error instanceof StoreUnavailable) return error;
  const { number, rootOfTrust, storeId } = entry;
  if (error instanceof SealBroken) {
    return new StoreUnavailable(
      "unsafe",
      `the configured root key does not open storage key ${number} of store ${storeId}, which root key "${rootOfTrust}" wrapped: give every node of the region that root key; if it is lost for good, docs/storage-key.md says what to do`,
      { cause: error },
    );
  }
  if (error instanceof RootOfTrustError) {
    return new StoreUnavailable(
      "keyClosed",
      `the root of trust does not open storage key ${number} (${error.failure}: ${error.message})`,
      { cause: error },
    );
  }
  return new StoreUnavailable("keyClosed", `storage key ${number} cannot be opened`, {
    cause: error,
  });
}

/** Refuses a key that is not the original one with this number. */
function refuseOther(key: StorageKey, entry: KeyEntry): void {
  if (timingSafeEqual(key.check, entry.check)) return;
  throw new KeyEntryDamaged(`${notOriginal(entry.number)}: docs/storage-key.md says what to do`);
}

/** What is said of an entry of another key. */
export function notOriginal(number: number): string {
  return `storage key ${number} in {sys}:keys is not the original key of this store`;
}

/** What is said of an entry that does not open. */
export function damaged(number: number): string {
  return `storage key ${number} in {sys}:keys is damaged`;
}
