import { timingSafeEqual } from "node:crypto";
import {
  type Observer,
  type RootOfTrust,
  RootOfTrustError,
  type RootUnwrap,
  SealBroken,
  StoreUnavailable,
} from "@holdfast/engine";
import type { Connection } from "../connection/connection.ts";
import { sysKeys } from "../connection/keys.ts";
import type { StoreSettings } from "../connection/options.ts";
import { type KeyEntry, readKeyEntries, storageKeyData } from "./key-entry.ts";
import { deriveStorageKey, type StorageKey, StorageKeys } from "./storage-keys.ts";

/** The part of a root of trust that opens storage keys. */
export type KeyOpener = Pick<RootOfTrust, "unwrap">;

/** How long a root of trust may take to open a storage key. */
const openMs = 15_000;

/** Opens the storage keys of a store, and keeps them: a fail-over needs no root of trust. */
export class HeldKeys {
  readonly #settings: Pick<StoreSettings, "region" | "root" | "timers">;
  readonly #observe: Observer;
  #held: StorageKeys | undefined;
  #isOpen: boolean | undefined;
  #stop: (() => void) | undefined;
  #closed = false;

  constructor(settings: Pick<StoreSettings, "region" | "root" | "timers">, observe: Observer) {
    this.#settings = settings;
    this.#observe = observe;
  }

  /**
   * The keys of the store on this connection. Rejects with `keyClosed` if the root of trust does not open one now, and
   * with `unsafe` if it never will.
   */
  async open(connection: Connection, storeId: string): Promise<StorageKeys> {
    const answer = await connection.call("hgetall", sysKeys.keys);
    const entries = readKeyEntries(answer, storeId, connection.address);
    const keys: StorageKey[] = [];
    let isNew = false;
    for (const entry of entries) {
      const held = this.#held?.storeId === storeId ? this.#held.get(entry.number) : undefined;
      if (held !== undefined) refuseOther(held, entry);
      else isNew = true;
      keys.push(held ?? (await this.#open(entry)));
    }
    if (isNew) {
      this.#held = new StorageKeys(storeId, keys);
      this.#say(true, "");
    }
    return this.#held as StorageKeys;
  }

  /** Ends what is under way. */
  close(): void {
    this.#closed = true;
    this.#stop?.();
  }

  async #open(entry: KeyEntry): Promise<StorageKey> {
    try {
      return await openStorageKey(entry, this.#settings.region, {
        unwrap: (blob, data) => this.#inTime(this.#settings.root.unwrap(blob, data)),
      });
    } catch (error) {
      const failure = keyFailure(error, entry);
      if (failure.failure === "keyClosed") this.#say(false, failure.message);
      throw failure;
    }
  }

  #inTime(call: Promise<RootUnwrap>): Promise<RootUnwrap> {
    let isOver = false;
    return new Promise((resolve, reject) => {
      const give = (why: string) => () => {
        isOver = true;
        reject(new RootOfTrustError("unavailable", why));
      };
      const cancel = this.#settings.timers.after(
        openMs,
        give(`it has not answered within ${openMs} ms`),
        true,
      );
      this.#stop = give("the store is closing");
      if (this.#closed) this.#stop();
      call
        .then((answer) => {
          if (isOver) answer.plaintext.fill(0);
          resolve(answer);
        }, reject)
        .finally(cancel);
    });
  }

  #say(isOpen: boolean, reason: string): void {
    if (this.#isOpen === isOpen || this.#closed) return;
    this.#isOpen = isOpen;
    this.#observe({ type: "storageKey", state: isOpen ? "open" : "closed", reason });
  }
}

/** Opens a storage key by its entry; rejects with `StoreUnavailable` or what the root of trust throws. */
export async function openStorageKey(
  entry: KeyEntry,
  region: string,
  root: KeyOpener,
): Promise<StorageKey> {
  const name = { ...entry, region };
  const { plaintext } = await root.unwrap(entry.wrap, storageKeyData(name));
  try {
    const key = deriveStorageKey(plaintext, name);
    refuseOther(key, entry);
    return key;
  } finally {
    plaintext.fill(0);
  }
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
function refuseOther(key: StorageKey, { number, check }: KeyEntry): void {
  if (timingSafeEqual(key.check, check)) return;
  throw new StoreUnavailable(
    "unsafe",
    `storage key ${number} in {sys}:keys is not the original key of this store: restore the data of Redis`,
  );
}
