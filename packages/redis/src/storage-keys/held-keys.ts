import { timingSafeEqual } from "node:crypto";
import {
  type Ids,
  type Observer,
  type RootOfTrust,
  RootOfTrustError,
  SealBroken,
  StoreUnavailable,
} from "@holdfast/engine";
import type { Connection } from "../connection/connection.ts";
import { sysKeys } from "../connection/keys.ts";
import type { StoreSettings } from "../connection/options.ts";
import {
  type KeyEntries,
  type KeyEntry,
  type ReadKeyEntry,
  readKeyEntries,
  soundKeyEntries,
  storageKeyData,
} from "./key-entry.ts";
import { deriveStorageKey, type StorageKey, StorageKeys, storageKeyBytes } from "./storage-keys.ts";

/** The part of a root of trust that opens storage keys. */
export type KeyOpener = Pick<RootOfTrust, "unwrap" | "describe">;

/** How long a root of trust may take to open a storage key. */
const openMs = 15_000;

/**
 * A storage key that is open, and the entry that was last seen to open to it, with the version of the root key that it
 * opened with, whatever version its text names.
 */
export interface HeldKey {
  readonly key: StorageKey;
  readonly entry: ReadKeyEntry;
}

/**
 * Opens the storage keys of a store, and keeps them with their entries: a fail-over needs no root of trust, and a node
 * that runs needs no entry in Redis.
 */
export class HeldKeys {
  readonly #settings: Pick<StoreSettings, "region" | "root" | "timers">;
  readonly #observe: Observer;
  #held: { readonly keys: StorageKeys; readonly byNumber: Map<number, HeldKey> } | undefined;
  #isOpen: boolean | undefined;
  #stop: (() => void) | undefined;
  #closed = false;

  constructor(settings: Pick<StoreSettings, "region" | "root" | "timers">, observe: Observer) {
    this.#settings = settings;
    this.#observe = observe;
  }

  /**
   * The keys of the store on this connection. Rejects with `keyClosed` if the root of trust does not open one now, and
   * with `unsafe` if it never will. Where keys of this store are held, what is wrong with an entry is only reported.
   */
  async open(connection: Connection, storeId: string): Promise<StorageKeys> {
    const answer = await connection.call("hgetall", sysKeys.keys);
    const found = readKeyEntries(answer, storeId);
    const held = this.of(storeId);
    this.report(found, held);
    const entries =
      held.size > 0 ? found.entries : soundKeyEntries(found, storeId, connection.address);
    const byNumber = new Map(held);
    for (const entry of entries) {
      if (held.has(entry.number)) continue;
      const opened = await this.#open(entry).catch((error: StoreUnavailable) => {
        if (held.size === 0 || error.failure !== "unsafe") throw error;
        this.#warn(error.message);
      });
      if (opened === undefined) continue;
      const { key, version } = opened;
      byNumber.set(entry.number, { key, entry: { ...entry, rootKeyVersion: version } });
    }
    if (this.#held === undefined || byNumber.size > held.size) {
      const keys = new StorageKeys(
        storeId,
        [...byNumber.values()].map(({ key }) => key),
      );
      this.#held = { keys, byNumber };
    }
    this.#say(true, "");
    return this.#held.keys;
  }

  /** The keys of a store that are held, by their numbers. */
  of(storeId: string): ReadonlyMap<number, HeldKey> {
    return this.#held?.keys.storeId === storeId ? this.#held.byNumber : new Map();
  }

  /** Keeps an entry that was seen to open to the key that is held. */
  keep(entry: ReadKeyEntry): void {
    const held = this.of(entry.storeId).get(entry.number);
    if (held !== undefined) this.#held?.byNumber.set(entry.number, { ...held, entry });
  }

  /** Warns of everything in `{sys}:keys` that is not as the keys that are held. */
  report(found: KeyEntries, held: ReadonlyMap<number, HeldKey>): void {
    for (const { number, reason } of found.faults) if (number === undefined) this.#warn(reason);
    for (const fault of faultsOf(found, held)) this.#warn(fault);
  }

  /** The root of trust, each call of which ends after a bounded time. */
  get opener(): KeyOpener {
    const { root } = this.#settings;
    return {
      unwrap: (blob, data) =>
        this.#inTime(root.unwrap(blob, data), ({ plaintext }) => plaintext.fill(0)),
      describe: () => this.#inTime(root.describe()),
    };
  }

  /** Ends what is under way. */
  close(): void {
    this.#closed = true;
    this.#stop?.();
  }

  async #open(entry: KeyEntry): Promise<OpenedKey> {
    const { region } = this.#settings;
    const { opener } = this;
    try {
      return await openStorageKey(entry, region, opener);
    } catch (error) {
      const failure = await openFailure(error, entry, opener);
      if (failure.failure === "keyClosed") this.#say(false, failure.message);
      throw failure;
    }
  }

  #inTime<Answer>(call: Promise<Answer>, dropLate?: (late: Answer) => void): Promise<Answer> {
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
          if (isOver) dropLate?.(answer);
          resolve(answer);
        }, reject)
        .finally(cancel);
    });
  }

  #warn(message: string): void {
    this.#observe({ type: "warning", message });
  }

  #say(isOpen: boolean, reason: string): void {
    if (this.#isOpen === isOpen || this.#closed) return;
    this.#isOpen = isOpen;
    this.#observe({ type: "storageKey", state: isOpen ? "open" : "closed", reason });
  }
}

/**
 * Opens no key of the store, and needs no root of trust: for readers of what they believe without a MAC. Its only key is a
 * random one, so no record proves itself.
 */
export class NoKeys extends HeldKeys {
  readonly #ids: Pick<Ids, "randomBytes">;

  constructor(settings: StoreSettings, ids: Pick<Ids, "randomBytes">) {
    super(settings, settings.observe);
    this.#ids = ids;
  }

  override async open(_: Connection, storeId: string): Promise<StorageKeys> {
    const name = { storeId, region: "", number: 0 };
    return new StorageKeys(storeId, [
      deriveStorageKey(this.#ids.randomBytes(storageKeyBytes), name),
    ]);
  }
}

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

/** What is wrong in `{sys}:keys`, so that a node that starts would refuse the store. */
export function faultsOf(
  { entries, faults }: KeyEntries,
  held: ReadonlyMap<number, HeldKey>,
): string[] {
  const all = faults.flatMap(({ number, reason }) => (number === undefined ? [] : [reason]));
  for (const [number, { key }] of held) {
    const entry = entries.find((one) => one.number === number);
    if (entry !== undefined && isOriginal(key, entry)) continue;
    if (faults.some((fault) => fault.number === String(number))) continue;
    all.push(entry === undefined ? missing(number) : notOriginal(number));
  }
  return all;
}

/** Whether an entry is of this key. */
export function isOriginal(key: StorageKey, { check }: KeyEntry): boolean {
  return timingSafeEqual(key.check, check);
}

/** Refuses a key that is not the original one with this number. */
function refuseOther(key: StorageKey, entry: KeyEntry): void {
  if (isOriginal(key, entry)) return;
  throw new KeyEntryDamaged(`${notOriginal(entry.number)}: docs/storage-key.md says what to do`);
}

function notOriginal(number: number): string {
  return `storage key ${number} in {sys}:keys is not the original key of this store`;
}

/** What is said of an entry that does not open. */
export function damaged(number: number): string {
  return `storage key ${number} in {sys}:keys is damaged`;
}

function missing(number: number): string {
  return `storage key ${number} is missing in {sys}:keys`;
}
