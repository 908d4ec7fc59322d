import { StoreUnavailable } from "@holdfast/engine";
import { readPairs } from "../connection/replies.ts";
import { noteField, stepInNote } from "./key-note.ts";
import { keySteps, type StorageKeyName } from "./storage-keys.ts";

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
  /** Proves that who made it had the key before it (`key-note.ts`); empty for the first key of a store. */
  readonly link: Uint8Array;
  /** When it was made, by the clock of the node that made it: milliseconds since the epoch. It decides nothing. */
  readonly madeMs: number;
}

/** More fields than a store has in a century of monthly rotations. */
const entriesMax = 1_200;
/** The highest number of a key that a rotation makes: with more fields than `entriesMax`, nobody would open the store. */
export const keysMax = 1_150;
const textMax = 16_384;
const numberMax = 65_535;
const nameMax = 512;

/** What a wrapped storage key is bound to: its region, store and number. No part can hold the zero byte between them. */
export function storageKeyData({ region, storeId, number }: StorageKeyName): Uint8Array {
  return Buffer.from(["holdfast-storage-key", region, storeId, String(number)].join("\0"));
}

/** The value of an entry in `{sys}:keys`: one line of JSON. */
export function writeKeyEntry(entry: KeyEntry): string {
  const { storeId, rootOfTrust, rootKeyVersion, wrap, check, link, madeMs } = entry;
  return JSON.stringify({
    store: storeId,
    root: rootOfTrust,
    version: rootKeyVersion,
    wrap: Buffer.from(wrap).toString("base64"),
    check: Buffer.from(check).toString("hex"),
    link: Buffer.from(link).toString("hex"),
    made: madeMs,
  });
}

/** Reads an entry; undefined where it is none. */
export function readKeyEntry(number: string, text: string): KeyEntry | undefined {
  if (!isNumber(number)) return undefined;
  if (text.length > textMax) return undefined;
  const fields = parsedFields(text);
  const [storeId, rootOfTrust] = [fields["store"], fields["root"]];
  const [rootKeyVersion, wrap, check] = [fields["version"], fields["wrap"], fields["check"]];
  const [link, madeMs] = [fields["link"], fields["made"]];
  if (!isHex(storeId) || !isHex(check) || !isLink(link) || !isTime(madeMs)) return undefined;
  if (!isName(rootOfTrust) || !isName(rootKeyVersion) || !isBase64(wrap)) return undefined;
  return {
    ...{ number: Number(number), storeId, rootOfTrust, rootKeyVersion },
    wrap: Buffer.from(wrap, "base64"),
    check: Buffer.from(check, "hex"),
    ...{ link: Buffer.from(link, "hex"), madeMs },
  };
}

/** An entry with the text that it was read from. */
export type ReadKeyEntry = KeyEntry & { readonly text: string };

/** What `{sys}:keys` holds for a store. */
export interface KeyEntries {
  readonly entries: readonly ReadKeyEntry[];
  /** What says which numbers count, as the store has it; empty for none (`key-note.ts`). */
  readonly note: string;
  /** What is wrong with each field that is not an entry of this store; `number` where it has the name of one. */
  readonly faults: readonly { readonly number: string | undefined; readonly reason: string }[];
}

/** Reads the answer of `HGETALL {sys}:keys` for a store. */
export function readKeyEntries(answer: unknown, storeId: string): KeyEntries {
  const pairs = readPairs(answer);
  const note = pairs.get(noteField) ?? "";
  if (pairs.size > entriesMax) {
    const faults = [{ number: "", reason: "{sys}:keys has too many fields" }];
    return { entries: [], note, faults };
  }
  const entries: ReadKeyEntry[] = [];
  const faults: KeyEntries["faults"][number][] = [];
  for (const [number, text] of pairs) {
    if (number === noteField) continue;
    const entry = readKeyEntry(number, text);
    if (entry?.storeId === storeId) entries.push({ ...entry, text });
    else faults.push(faultOf(number, entry, storeId));
  }
  return { entries, note, faults };
}

function faultOf(number: string, entry: KeyEntry | undefined, storeId: string) {
  if (!isNumber(number)) {
    return { number: undefined, reason: "{sys}:keys has a field that is not a storage key's" };
  }
  const what = `storage key ${number} in {sys}:keys is`;
  const reason =
    entry === undefined
      ? `${what} damaged`
      : `${what} of store ${entry.storeId}, not of store ${storeId}`;
  return { number, reason };
}

/**
 * The entries of a store that nobody has opened yet, and the step that its note says. Rejects a store without a key or note,
 * and one with an entry of a counting key that is missing, damaged or of another store.
 */
export function soundKeyEntries(
  { entries, faults, note }: KeyEntries,
  storeId: string,
  address: string,
): { readonly entries: readonly ReadKeyEntry[]; readonly step: number } {
  const step = stepInNote(note);
  const counts = (number: number) =>
    step === undefined || (number >= keySteps.oldest(step) && number <= keySteps.newest(step));
  // A fault without a number is that of all fields together.
  const fault = faults.find(
    ({ number }) => number === "" || (number !== undefined && counts(Number(number))),
  );
  if (fault !== undefined) {
    throw unsafe(`Redis ${address}: ${fault.reason}: docs/storage-key.md says what to do`);
  }
  if (entries.length === 0 && faults.length === 0) {
    throw unsafe(
      `Redis ${address} holds store ${storeId}, which has no storage key: if an older release made it, run \`backup create\` with that release, then \`store init\` with an empty Redis and \`backup restore\` with this one; if its key {sys}:keys was deleted, docs/storage-key.md says what to do`,
    );
  }
  if (step === undefined) {
    throw unsafe(
      `Redis ${address}: {sys}:keys of store ${storeId} does not say which storage keys count (field ${noteField}): docs/storage-key.md says what to do`,
    );
  }
  for (let number = keySteps.oldest(step); number <= keySteps.newest(step); number += 1) {
    if (entries.some((entry) => entry.number === number)) continue;
    throw unsafe(
      `Redis ${address}: storage key ${number} is missing in {sys}:keys: docs/storage-key.md says what to do`,
    );
  }
  return { entries: entries.filter(({ number }) => number <= keySteps.newest(step)), step };
}

function unsafe(message: string): StoreUnavailable {
  return new StoreUnavailable("unsafe", message);
}

/** The fields of an object in JSON; none of any other text. */
export function parsedFields(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function isNumber(text: string): boolean {
  return /^[1-9]\d{0,4}$/.test(text) && Number(text) <= numberMax;
}

/** Names are printed in errors: no control characters, and not longer than a line. */
function isName(value: unknown): value is string {
  return isText(value) && value.length <= nameMax && !/\p{C}/u.test(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function isHex(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
}

/** Empty, or a proof of `valueProofLength` bytes. */
function isLink(value: unknown): value is string {
  return typeof value === "string" && /^([0-9a-f]{36})?$/.test(value);
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** Base64 of at least one byte: a single digit holds no byte. */
function isBase64(value: unknown): value is string {
  return isText(value) && /^[A-Za-z0-9+/]{2,}={0,2}$/.test(value);
}
