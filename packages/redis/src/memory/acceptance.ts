import { sysKeys } from "../connection/keys.ts";
import type { StoredValues } from "../proof/stored-values.ts";
import type { StorageKeys } from "../storage-keys/storage-keys.ts";
import type { ValuePlace } from "../storage-keys/value-proof.ts";

/** An operator's order: what is genuine in the store counts, although nodes remember more. */
export interface Acceptance {
  /** Grows with each order of the region. */
  readonly number: number;
  /** The record that it is about; undefined for the whole store. */
  readonly record: string | undefined;
}

/** The field of `{sys}:local` with the orders. */
export const acceptedName = "accepted";
/** Its place, as its proof names it: the value is written in base64, with the proof at its end. */
export const acceptedPlace: ValuePlace = { key: sysKeys.local, field: acceptedName };
/** Orders about one record that are kept: a node that was down for more of them refuses the oldest records still. */
const recordsMax = 100;
const textMax = 1 << 14;
/** Numbers have 6 bytes in a memory file. */
export const numberMax = 2 ** 48 - 1;
const recordPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The orders in a value of the store, the oldest first; none where it does not prove itself. */
export function readAcceptances(
  values: StoredValues,
  keys: StorageKeys,
  stored: string,
): readonly Acceptance[] {
  if (stored.length > textMax) return [];
  const text = values.read(keys, acceptedPlace, Buffer.from(stored, "base64"));
  if (text === undefined) return [];
  return String(text)
    .split("\n")
    .flatMap((line) => {
      const [number = "", record] = line.split(" ");
      const isSound = /^\d{1,15}$/.test(number) && Number(number) <= numberMax;
      if (!isSound || (record !== undefined && !recordPattern.test(record))) return [];
      return [{ number: Number(number), record }];
    });
}

/** The value with one more order, which ends those before it if it is about the whole store. */
export function writeAcceptances(
  values: StoredValues,
  keys: StorageKeys,
  before: readonly Acceptance[],
  next: Acceptance,
): string {
  const kept = next.record === undefined ? [] : before.slice(1 - recordsMax);
  const lines = [...kept, next].map(({ number, record }) =>
    record === undefined ? String(number) : `${number} ${record}`,
  );
  return values.withProof(keys.newest, acceptedPlace, lines.join("\n")).toString("base64");
}
