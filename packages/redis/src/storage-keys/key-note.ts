import { timingSafeEqual } from "node:crypto";
import { sysKeys } from "../connection/keys.ts";
import type { KeyEntry } from "./key-entry.ts";
import { keySteps, type StorageKey } from "./storage-keys.ts";
import { proveValue, valueProofLength } from "./value-proof.ts";

/** The field of `{sys}:keys` that says which numbers count. */
export const noteField = "note";

/** Numbers of keys have 2 bytes. */
const stepMax = keySteps.only(65_535);

/**
 * The note of `{sys}:keys`, which says which storage keys count: the step (`keySteps`), and its proof by the newest key, so
 * that nobody who only has an older one can make it.
 */
export function writeKeyNote(newest: StorageKey, step: number): string {
  return `${step} ${proofOf(newest, step).toString("hex")}`;
}

/** The step in a note; undefined for any other text. Proves nothing. */
export function stepInNote(note: string): number | undefined {
  const [, digits, proof] = /^([1-9]\d{0,5}) ([0-9a-f]+)$/.exec(note) ?? [];
  const step = Number(digits);
  return proof?.length === 2 * valueProofLength && step <= stepMax && step >= 3 ? step : undefined;
}

/** Whether a note was made with this key, which is the newest of its step. */
export function provesNote(key: StorageKey | undefined, note: string): boolean {
  const step = stepInNote(note);
  if (step === undefined || key?.number !== keySteps.newest(step)) return false;
  const found = Buffer.from(note.slice(note.indexOf(" ") + 1), "hex");
  return timingSafeEqual(found, proofOf(key, step));
}

/** The link of a key: a MAC over number, store id and check value, by the key before it. */
export function linkTo(
  before: StorageKey,
  { number, storeId, check }: Pick<KeyEntry, "number" | "storeId" | "check">,
): Buffer {
  const place = { key: sysKeys.keys, field: String(number) };
  return proveValue(before, place, `${storeId} ${Buffer.from(check).toString("hex")}`);
}

/** Whether the key of this entry was made by who had the key before it. */
export function isLinked(before: StorageKey | undefined, entry: KeyEntry): boolean {
  if (before?.number !== entry.number - 1) return false;
  const link = linkTo(before, entry);
  return entry.link.length === link.length && timingSafeEqual(link, entry.link);
}

function proofOf(key: StorageKey, step: number): Buffer {
  return proveValue(key, { key: sysKeys.keys, field: noteField }, String(step));
}
