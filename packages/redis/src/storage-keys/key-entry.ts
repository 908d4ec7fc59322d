import { StoreUnavailable } from "@holdfast/engine";
import { readPairs } from "../connection/replies.ts";
import type { StorageKeyName } from "./storage-keys.ts";

/** A storage key as `{sys}:keys` has it. */
export interface KeyEntry {
  readonly number: number;
  /** The store that it was made for: 16 bytes in hexadecimal digits. */
  readonly storeId: string;
  /** The name of the root key that wrapped it, and that root key's version. */
  readonly rootOfTrust: string;
  readonly rootKeyVersion: string;
  readonly wrap: Uint8Array;
  /** `StorageKey.check`. */
  readonly check: Uint8Array;
}

/** More keys than a store has in a century of monthly rotations. */
const entriesMax = 1_200;
const textMax = 16_384;
const numberMax = 65_535;

/** What a wrapped storage key is bound to: its region, store and number. No part can hold the zero byte between them. */
export function storageKeyData({ region, storeId, number }: StorageKeyName): Uint8Array {
  return Buffer.from(["holdfast-storage-key", region, storeId, String(number)].join("\0"));
}

/** The value of an entry in `{sys}:keys`: one line of JSON. */
export function writeKeyEntry(entry: KeyEntry): string {
  const { storeId, rootOfTrust, rootKeyVersion, wrap, check } = entry;
  return JSON.stringify({
    store: storeId,
    root: rootOfTrust,
    version: rootKeyVersion,
    wrap: Buffer.from(wrap).toString("base64"),
    check: Buffer.from(check).toString("hex"),
  });
}

/** Reads an entry; undefined where it is none. */
export function readKeyEntry(number: string, text: string): KeyEntry | undefined {
  if (!/^[1-9]\d{0,4}$/.test(number) || Number(number) > numberMax) return undefined;
  if (text.length > textMax) return undefined;
  const fields = parsed(text);
  const [storeId, rootOfTrust] = [fields["store"], fields["root"]];
  const [rootKeyVersion, wrap, check] = [fields["version"], fields["wrap"], fields["check"]];
  if (!isHex(storeId) || !isHex(check)) return undefined;
  if (!isText(rootOfTrust) || !isText(rootKeyVersion) || !isBase64(wrap)) return undefined;
  return {
    ...{ number: Number(number), storeId, rootOfTrust, rootKeyVersion },
    wrap: Buffer.from(wrap, "base64"),
    check: Buffer.from(check, "hex"),
  };
}

/** An entry with the text that it was read from. */
export type ReadKeyEntry = KeyEntry & { readonly text: string };

/**
 * Reads the answer of `HGETALL {sys}:keys` for a store. Rejects a store without a key, and entries that are damaged or of
 * another store.
 */
export function readKeyEntries(
  answer: unknown,
  storeId: string,
  address: string,
): readonly ReadKeyEntry[] {
  const pairs = readPairs(answer);
  if (pairs.size === 0) {
    throw unsafe(
      `Redis ${address} holds store ${storeId}, which has no storage key: if an older release made it, run \`backup create\` with that release, then \`store init\` with an empty Redis and \`backup restore\` with this one; if its key {sys}:keys was deleted, restore the data of Redis`,
    );
  }
  if (pairs.size > entriesMax) throw unsafe(`Redis ${address}: {sys}:keys has too many fields`);
  return [...pairs].map(([number, text]) => {
    const entry = readKeyEntry(number, text);
    if (entry === undefined) {
      throw unsafe(
        `Redis ${address}: storage key ${number.slice(0, 8)} in {sys}:keys is damaged: restore the data of Redis`,
      );
    }
    if (entry.storeId !== storeId) {
      throw unsafe(
        `Redis ${address}: storage key ${number} in {sys}:keys is of store ${entry.storeId}, not of store ${storeId}: restore the data of Redis`,
      );
    }
    return { ...entry, text };
  });
}

function unsafe(message: string): StoreUnavailable {
  return new StoreUnavailable("unsafe", message);
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function isHex(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
}

function isBase64(value: unknown): value is string {
  return isText(value) && /^[A-Za-z0-9+/]+={0,2}$/.test(value);
}
