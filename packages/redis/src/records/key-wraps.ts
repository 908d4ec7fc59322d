import { type RootOfTrust, SealBroken, sysPartition } from "@holdfast/engine";
import { partitionKeys, sysKeys } from "../connection/keys.ts";
import type { StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";
import { keyFailure, openStorageKey } from "../storage-keys/held-keys.ts";
import {
  type KeyEntry,
  type ReadKeyEntry,
  readKeyEntries,
  storageKeyData,
  writeKeyEntry,
} from "../storage-keys/key-entry.ts";
import { deriveStorageKey } from "../storage-keys/storage-keys.ts";

/** The part of a root of trust that wraps storage keys. */
export type KeyWrapper = Pick<RootOfTrust, "describe" | "wrap" | "unwrap" | "rewrap">;

/** How many storage keys were wrapped again, and how many another writer changed meanwhile. */
export interface RewrappedKeys {
  readonly rewrapped: number;
  readonly left: number;
}

/** A storage key that a root of trust wrapped, as proven by unwrapping it once. */
export async function wrapStorageKey(
  secret: Uint8Array,
  name: { readonly storeId: string; readonly region: string; readonly number: number },
  root: KeyWrapper,
): Promise<KeyEntry> {
  const { check } = deriveStorageKey(secret, name);
  const { name: rootOfTrust } = await root.describe();
  const { blob, version } = await root.wrap(secret, storageKeyData(name));
  const { storeId, number } = name;
  const entry = { number, storeId, rootOfTrust, rootKeyVersion: version, wrap: blob, check };
  await openStorageKey(entry, name.region, root);
  return entry;
}

/** Wraps the storage keys in a store again. */
export class KeyWraps {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#sessions = sessions;
  }

  /** See `RedisStore.rewrapStorageKeys`. */
  readonly rewrapStorageKeys = async (root: KeyWrapper): Promise<RewrappedKeys> => {
    const session = this.#sessions.now("write") ?? (await this.#sessions.require("write"));
    const { address, storeId } = session;
    const answer = await session.reading(({ connection }) =>
      connection.call("hgetall", sysKeys.keys),
    );
    const results: boolean[] = [];
    for (const entry of readKeyEntries(answer, storeId, address)) {
      const next = await this.#wrapped(entry, root).catch((error: unknown) => {
        throw keyFailure(error, entry);
      });
      if (next === undefined) continue;
      const { result } = await session.groupCommit.submit(
        this.#context.scripts["set-key"],
        sysPartition,
        [partitionKeys(sysPartition).head, sysKeys.keys],
        [Buffer.from(storeId, "hex"), String(entry.number), entry.text, writeKeyEntry(next)],
      );
      results.push(result === "committed");
    }
    const rewrapped = results.filter(Boolean).length;
    return { rewrapped, left: results.length - rewrapped };
  };

  /** The entry under the root key's current version; undefined if it is there already. */
  async #wrapped(entry: ReadKeyEntry, root: KeyWrapper): Promise<KeyEntry | undefined> {
    const { region, root: opener } = this.#context.settings;
    const data = storageKeyData({ ...entry, region });
    const { name, currentVersion } = await root.describe();
    if (entry.rootOfTrust === name) {
      if (entry.rootKeyVersion === currentVersion) return undefined;
      const made = await root.rewrap(entry.wrap, data);
      if (made === undefined) return undefined;
      const next = { ...entry, rootKeyVersion: made.version, wrap: made.blob };
      await openStorageKey(next, region, root);
      return next;
    }
    const { plaintext } = await opener.unwrap(entry.wrap, data);
    try {
      const next = await wrapStorageKey(plaintext, { ...entry, region }, root);
      return Buffer.from(next.check).equals(Buffer.from(entry.check)) ? next : refuse(entry);
    } finally {
      plaintext.fill(0);
    }
  }
}

function refuse({ number }: KeyEntry): never {
  throw new SealBroken(`storage key ${number} is not the original key`);
}
