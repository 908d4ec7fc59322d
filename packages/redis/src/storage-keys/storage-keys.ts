import { createSecretKey, hkdfSync, type KeyObject } from "node:crypto";

/** Bytes of a storage key. */
export const storageKeyBytes = 32;

/** What a storage key belongs to. */
export interface StorageKeyName {
  /** 16 bytes in hexadecimal digits. */
  readonly storeId: string;
  readonly region: string;
  /** From 1; 2 bytes in records. */
  readonly number: number;
}

/** The keys that one storage key gives: HKDF-SHA-256 (RFC 5869), salt = store id, info = purpose, region, number. */
export interface StorageKey {
  readonly number: number;
  /** HMAC-SHA-256 of record headers. */
  readonly record: KeyObject;
  /** HMAC-SHA-256 of cursors, levels, points of the audit chain, and links of keys. */
  readonly value: KeyObject;
  /** HMAC-SHA-256 of statements. */
  readonly statement: KeyObject;
  /** AES-256-GCM of the bodies of system records. */
  readonly system: KeyObject;
  /** 16 bytes that identify the key without revealing anything about it. */
  readonly check: Uint8Array;
}

/** Derives the keys of a storage key of 32 bytes, which the caller zeroes. */
export function deriveStorageKey(secret: Uint8Array, name: StorageKeyName): StorageKey {
  if (secret.length !== storageKeyBytes) {
    throw new RangeError(`a storage key has ${storageKeyBytes} bytes, not ${secret.length}`);
  }
  return {
    number: name.number,
    record: keyFor("record", secret, name),
    value: keyFor("value", secret, name),
    statement: keyFor("statement", secret, name),
    system: keyFor("system", secret, name),
    check: derived("check", secret, name, 16),
  };
}

/**
 * Which numbers count is one step, which only grows. After 3n only key n counts. At 3n + 1 there is key n + 1, and nothing was
 * made with it; at 3n + 2 everything new is made with it, and what key n made still counts.
 */
export const keySteps = {
  /** The lowest number that counts. */
  oldest: (step: number): number => Math.floor(step / 3),
  /** The number with which everything new is made. */
  current: (step: number): number => Math.floor((step + 1) / 3),
  /** The highest number there is. */
  newest: (step: number): number => Math.floor((step + 2) / 3),
  /** The step after which only this number counts. */
  only: (number: number): number => number * 3,
} as const;

/** The opened storage keys of one store, and which of them count. */
export class StorageKeys {
  readonly storeId: string;
  #keys: ReadonlyMap<number, StorageKey>;
  #step: number;
  readonly #opened: number;

  /**
   * Takes at least one key. Without a step the highest number is for new values, and the one before it counts if its key is
   * there. `opened` is a later step whose keys are open too.
   */
  constructor(storeId: string, keys: readonly StorageKey[], step?: number, opened = 0) {
    if (keys.length === 0) throw new RangeError(`store ${storeId} has no storage key`);
    const highest = Math.max(...keys.map(({ number }) => number));
    this.storeId = storeId;
    this.#keys = new Map(keys.map((key) => [key.number, key]));
    this.#opened = opened;
    this.#step = step ?? keySteps.only(highest) - (this.#keys.has(highest - 1) ? 1 : 0);
  }

  /** The step that this node follows. */
  get step(): number {
    return this.#step;
  }

  /** The step for which nobody has to wait for this node. */
  get ready(): number {
    return Math.max(this.#step, this.#opened);
  }

  /** The key that new values get. */
  get newest(): StorageKey {
    const number = keySteps.current(this.#step);
    const key = this.#keys.get(number);
    if (key === undefined) throw new RangeError(`storage key ${number} is not open`);
    return key;
  }

  /** Store id (16 bytes) and number of the key for new values (2), which scripts compare with the heads. */
  get stamp(): Buffer {
    const stamp = Buffer.alloc(18);
    stamp.write(this.storeId, "hex");
    stamp.writeUInt16BE(this.newest.number, 16);
    return stamp;
  }

  /** The key with this number; undefined where the store has none, or where it counts no more. */
  get(number: number): StorageKey | undefined {
    const { oldest, newest } = keySteps;
    if (number < oldest(this.#step) || number > newest(this.#step)) return undefined;
    return this.#keys.get(number);
  }

  /** Takes other opened keys, and a later step. */
  follow(keys: readonly StorageKey[], step: number): void {
    this.#keys = new Map(keys.map((key) => [key.number, key]));
    this.#step = Math.max(this.#step, step);
  }
}

function keyFor(purpose: string, secret: Uint8Array, name: StorageKeyName): KeyObject {
  const bytes = derived(purpose, secret, name, 32);
  try {
    return createSecretKey(bytes);
  } finally {
    bytes.fill(0);
  }
}

/** No part of `info` can hold the zero byte that separates them. */
function derived(
  purpose: string,
  secret: Uint8Array,
  { storeId, region, number }: StorageKeyName,
  length: number,
): Uint8Array {
  const info = ["holdfast-storage-key-1", purpose, region, String(number)].join("\0");
  return new Uint8Array(hkdfSync("sha256", secret, Buffer.from(storeId, "hex"), info, length));
}
