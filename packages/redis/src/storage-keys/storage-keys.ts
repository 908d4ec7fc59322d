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

/** The opened storage keys of one store. */
export class StorageKeys {
  readonly storeId: string;
  /** The key of the highest number, which new values get. */
  readonly newest: StorageKey;
  readonly #keys: ReadonlyMap<number, StorageKey>;

  /** Takes at least one key. */
  constructor(storeId: string, keys: readonly StorageKey[]) {
    const [first, ...others] = keys;
    if (first === undefined) throw new RangeError(`store ${storeId} has no storage key`);
    this.storeId = storeId;
    this.newest = others.reduce((one, other) => (other.number > one.number ? other : one), first);
    this.#keys = new Map(keys.map((key) => [key.number, key]));
  }

  /** The key with this number; undefined where the store has none. */
  get(number: number): StorageKey | undefined {
    return this.#keys.get(number);
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
