import { type RootOfTrust, SealBroken, StoreUnavailable, sysPartition } from "@holdfast/engine";
import { partitionKeys, sysKeys } from "../connection/keys.ts";
import { readPairs } from "../connection/replies.ts";
import type { PrimarySession, StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";
import { type HeldKey, isOriginal } from "../storage-keys/held-keys.ts";
import {
  type KeyEntries,
  type KeyEntry,
  type ReadKeyEntry,
  readKeyEntries,
  readKeyEntry,
  storageKeyData,
  writeKeyEntry,
} from "../storage-keys/key-entry.ts";
import { linkTo, noteField } from "../storage-keys/key-note.ts";
import {
  damaged,
  KeyEntryDamaged,
  type KeyOpener,
  keyFailure,
  openFailure,
  openStorageKey,
} from "../storage-keys/key-opening.ts";
import {
  deriveStorageKey,
  type StorageKey,
  type StorageKeyName,
} from "../storage-keys/storage-keys.ts";

/** The part of a root of trust that wraps storage keys. */
export type KeyWrapper = Pick<RootOfTrust, "describe" | "wrap" | "unwrap" | "rewrap">;

/** What became of the entries of storage keys. */
export interface RewrappedKeys {
  readonly rewrapped: number;
  /** Entries that were missing or damaged, and were put back. */
  readonly restored: number;
  /** Entries that another writer changed meanwhile. */
  readonly left: number;
}

/** A storage key that a root of trust wrapped, as proven by unwrapping it once, with a link to the key before it. */
export async function wrapStorageKey(
  secret: Uint8Array,
  name: StorageKeyName & Partial<Pick<KeyEntry, "madeMs">>,
  root: KeyWrapper,
  before?: StorageKey,
): Promise<KeyEntry> {
  const { check } = deriveStorageKey(secret, name);
  const { name: rootOfTrust } = await root.describe();
  const { blob, version } = await root.wrap(secret, storageKeyData(name));
  const { storeId, number, madeMs = 0 } = name;
  const link = before ? linkTo(before, { number, storeId, check }) : new Uint8Array();
  const wrapped = { rootOfTrust, rootKeyVersion: version, wrap: blob };
  const entry = { number, storeId, ...wrapped, check, link, madeMs };
  await openStorageKey(entry, name.region, root);
  return entry;
}

/** The wrap of a storage key as it was last seen to open. */
export type StorageKeyWrap = Pick<KeyEntry, "number" | "rootOfTrust" | "rootKeyVersion">;

/** What a look at the entries of storage keys has found. */
export interface SeenStorageKeys {
  /** Of a key whose entry is missing or damaged, the wrap that this node has kept. */
  readonly wraps: readonly StorageKeyWrap[];
  /** What is wrong with entries: a node that starts would refuse the store. */
  readonly faults: readonly string[];
}

type Result = keyof RewrappedKeys;

/** Looks at the entries of storage keys that are held: puts damaged ones back, and wraps old ones again. */
export class KeyWraps {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#sessions = sessions;
  }

  /** See `RedisStore.rewrapStorageKeys`. */
  readonly rewrapStorageKeys = async (root: KeyWrapper): Promise<RewrappedKeys> => {
    const { keys } = this.#context;
    const session = this.#sessions.now("write") ?? (await this.#sessions.require("write"));
    const { answer, found, held } = await this.#entries(session);
    keys.report(found);
    const results: (Result | undefined)[] = [];
    for (const one of held.values()) {
      results.push(await this.#look(session, one, readPairs(answer), root));
    }
    results.push(await this.#lookAtNote(session, found));
    const count = (result: Result) => results.filter((one) => one === result).length;
    return { rewrapped: count("rewrapped"), restored: count("restored"), left: count("left") };
  };

  /** See `RedisStore.storageKeyWraps`. */
  readonly storageKeyWraps = async (): Promise<SeenStorageKeys> => {
    const { keys } = this.#context;
    const session = this.#sessions.now("read") ?? (await this.#sessions.require("read"));
    const { found, held } = await this.#entries(session);
    const faults = keys.faults(found);
    for (const entry of found.entries) {
      const own = held.get(entry.number);
      if (own === undefined || own.entry.text === entry.text) continue;
      if (!isOriginal(own, entry)) continue;
      const fault = await this.#keepOpened(entry);
      if (fault !== undefined) faults.push(fault);
    }
    keys.lookAgain();
    return { wraps: [...keys.of(session.storeId).values()].map(({ entry }) => entry), faults };
  };

  /** Puts back the note of which keys count, where it is not as it must be. */
  async #lookAtNote(session: PrimarySession, found: KeyEntries): Promise<Result | undefined> {
    const { keys, scripts, observe } = this.#context;
    const note = keys.note(session.storeId);
    if (note === undefined || keys.noteFault(found) === undefined) return undefined;
    const { result } = await session.groupCommit.submit(
      scripts["set-key"],
      sysPartition,
      [partitionKeys(sysPartition).head, sysKeys.keys],
      [session.storageKeys.stamp, noteField, found.note, note],
    );
    if (result !== "committed") return "left";
    observe({ type: "storageKeyPutBack", number: session.storageKeys.newest.number });
    return "restored";
  }

  /** The entries as the store has them, and the keys that this node holds. */
  async #entries(session: PrimarySession) {
    const answer = await session.reading(({ connection }) =>
      connection.call("hgetall", sysKeys.keys),
    );
    const { storeId } = session;
    const found = readKeyEntries(answer, storeId);
    return { answer, found, held: this.#context.keys.of(storeId) };
  }

  /** Keeps an entry that opens; says what is wrong with one that never will. */
  async #keepOpened(entry: ReadKeyEntry): Promise<string | undefined> {
    const { keys, settings } = this.#context;
    try {
      const { version } = await openStorageKey(entry, settings.region, settings.root);
      const opened = { ...entry, rootKeyVersion: version };
      keys.keep(opened);
      return undefined;
    } catch (error) {
      const failure = await openFailure(error, entry, settings.root);
      if (failure instanceof KeyEntryDamaged) return damaged(entry.number);
      throw failure;
    }
  }

  /** Undefined where the entry of a key that is held is as it must be. */
  async #look(
    session: PrimarySession,
    own: HeldKey,
    fields: ReadonlyMap<string, string>,
    root: KeyWrapper,
  ): Promise<Result | undefined> {
    const { keys, scripts, observe } = this.#context;
    const { entry: kept } = own;
    const number = String(kept.number);
    const text = fields.get(number) ?? "";
    const read = readKeyEntry(number, text);
    const isOwn = read?.storeId === session.storeId && isOriginal(own, read);
    const entry = isOwn ? { ...read, text } : undefined;
    const version = entry && (await this.#versionOf(entry, root));
    const isSound = entry !== undefined && version !== undefined;
    if (isSound) keys.keep({ ...entry, rootKeyVersion: version });
    const next = isSound
      ? await this.#wrapped(entry, version, root)
      : await this.#putBack(kept, root);
    if (next === undefined) return undefined;
    const { result } = await session.groupCommit.submit(
      scripts["set-key"],
      sysPartition,
      [partitionKeys(sysPartition).head, sysKeys.keys],
      [session.storageKeys.stamp, number, text, writeKeyEntry(next)],
    );
    if (result !== "committed") return "left";
    keys.keep({ ...next, text: writeKeyEntry(next) });
    if (isSound) return "rewrapped";
    observe({ type: "storageKeyPutBack", number: kept.number });
    return "restored";
  }

  /** The version of the root key that an entry's wrap has; undefined where the root key that the entry names does not open it. */
  async #versionOf(entry: ReadKeyEntry, root: KeyWrapper): Promise<string | undefined> {
    const { region, root: configured } = this.#context.settings;
    let opener: KeyOpener = root;
    try {
      if ((await root.describe()).name !== entry.rootOfTrust) opener = configured;
      return (await openStorageKey(entry, region, opener)).version;
    } catch (error) {
      const failure = await openFailure(error, entry, opener);
      if (failure instanceof KeyEntryDamaged) return undefined;
      throw failure;
    }
  }

  /** The kept entry, in place of one that is missing or damaged. */
  async #putBack(kept: ReadKeyEntry, root: KeyWrapper): Promise<KeyEntry> {
    const { number } = kept;
    // It may be under a version of the root key that is gone meanwhile.
    if ((await this.#versionOf(kept, root)) === undefined) {
      throw new StoreUnavailable(
        "unsafe",
        `storage key ${number} is missing or damaged in {sys}:keys, and the root of trust does not open the entry that this node has kept either: do not restart the region's nodes; docs/storage-key.md says what to do`,
      );
    }
    return kept;
  }

  /** The entry under the root key's current version; undefined if it is there already. */
  async #wrapped(
    entry: ReadKeyEntry,
    version: string,
    root: KeyWrapper,
  ): Promise<KeyEntry | undefined> {
    try {
      const { name, currentVersion } = await root.describe();
      if (entry.rootOfTrust !== name) return await this.#moved(entry, root);
      if (entry.rootKeyVersion === currentVersion && version === currentVersion) return undefined;
      return await this.#rewrapped(entry, version, root);
    } catch (error) {
      throw keyFailure(error, entry);
    }
  }

  async #rewrapped(
    entry: ReadKeyEntry,
    version: string,
    root: KeyWrapper,
  ): Promise<KeyEntry | undefined> {
    const { region } = this.#context.settings;
    const made = await root.rewrap(entry.wrap, storageKeyData({ ...entry, region }));
    if (made === undefined) {
      return entry.rootKeyVersion === version ? undefined : { ...entry, rootKeyVersion: version };
    }
    const next = { ...entry, rootKeyVersion: made.version, wrap: made.blob };
    await openStorageKey(next, region, root);
    return next;
  }

  /** The entry under another root key. */
  async #moved(entry: ReadKeyEntry, root: KeyWrapper): Promise<KeyEntry> {
    const { region, root: opener } = this.#context.settings;
    const { plaintext } = await opener.unwrap(entry.wrap, storageKeyData({ ...entry, region }));
    try {
      const next = await wrapStorageKey(plaintext, { ...entry, region }, root);
      const isSame = Buffer.from(next.check).equals(Buffer.from(entry.check));
      return isSame ? { ...next, link: entry.link } : refuse(entry);
    } finally {
      plaintext.fill(0);
    }
  }
}

function refuse({ number }: KeyEntry): never {
  throw new SealBroken(`storage key ${number} is not the original key`);
}
