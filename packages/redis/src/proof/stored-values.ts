import { hash, timingSafeEqual } from "node:crypto";
import type { Event, Observer } from "@holdfast/engine";
import type { StorageKey, StorageKeys } from "../storage-keys/storage-keys.ts";
import { proveValue, type ValuePlace, valueProofLength } from "../storage-keys/value-proof.ts";

/** A value, and its proof as it was found. */
export interface FoundValue {
  readonly value: Buffer;
  readonly proof: Buffer;
}

/** Most places whose last value is remembered. */
const placesMax = 1_024;

/**
 * Verifies the values that decisions depend on and that are no records: a value counts if it was made with one of the
 * store's keys for this very place. Any other is reported once.
 */
export class StoredValues {
  readonly #observe: Observer;
  readonly #believes: boolean;
  /** Place → the last value that proved itself there, so that it is computed once. */
  readonly #proven = new Map<string, FoundValue & { readonly by: StorageKey }>();
  /** Place → SHA-256 of the value that was last reported there. */
  readonly #reported = new Map<string, string>();

  /** With `believes`, values count without proof: for readers that have no key of the store. */
  constructor(observe: Observer, believes = false) {
    this.#observe = observe;
    this.#believes = believes;
  }

  /** The places whose last value did not prove itself, as `key field`. */
  readonly unprovenValues = (): readonly string[] => [...this.#reported.keys()];

  /** Makes the proof of a value that takes the place of what was there. */
  prove(key: StorageKey, place: ValuePlace, value: string | Buffer): Buffer {
    this.#reported.delete(nameOf(place));
    return proveValue(key, place, value);
  }

  /** The same with the value before it, for a field that no script compares as a whole. */
  withProof(key: StorageKey, place: ValuePlace, value: string | Buffer): Buffer {
    return Buffer.concat([Buffer.from(value), this.prove(key, place, value)]);
  }

  /** Whether a value proves itself by the proof beside it. There is none where both are empty. */
  proves(
    keys: StorageKeys,
    place: ValuePlace,
    { value, proof }: FoundValue,
    event: Event = { type: "unprovenValue", place: nameOf(place) },
  ): boolean {
    const name = nameOf(place);
    const isProven = this.#believes || this.#isProven(keys, place, name, { value, proof });
    if (isProven || (value.length === 0 && proof.length === 0)) this.#reported.delete(name);
    else this.#report(name, hash("sha256", Buffer.concat([proof, value])), event);
    return isProven;
  }

  /** The value before its proof; undefined where there is none that proves itself. */
  read(keys: StorageKeys, place: ValuePlace, stored: Buffer): Buffer | undefined {
    const found = split(stored);
    const isProven = this.proves(keys, place, found);
    return isProven && found.value.length > 0 ? found.value : undefined;
  }

  #isProven(
    keys: StorageKeys,
    place: ValuePlace,
    name: string,
    { value, proof }: FoundValue,
  ): boolean {
    if (proof.length !== valueProofLength) return false;
    const key = keys.get(proof.readUInt16BE());
    if (key === undefined) return false;
    const known = this.#proven.get(name);
    if (known?.by === key && known.value.equals(value) && known.proof.equals(proof)) return true;
    if (!timingSafeEqual(proveValue(key, place, value), proof)) return false;
    if (this.#proven.size >= placesMax) this.#proven.clear();
    // Copies, since what Redis answered is part of a larger buffer.
    this.#proven.set(name, { value: Buffer.from(value), proof: Buffer.from(proof), by: key });
    return true;
  }

  #report(name: string, digest: string, event: Event): void {
    if (this.#reported.get(name) === digest) return;
    if (this.#reported.size >= placesMax) this.#reported.clear();
    this.#reported.set(name, digest);
    this.#observe(event);
  }
}

function nameOf({ key, field }: ValuePlace): string {
  return `${key} ${field}`;
}

/** A stored value and the proof after it. */
export function split(stored: Buffer): FoundValue {
  const end = Math.max(0, stored.length - valueProofLength);
  return { value: stored.subarray(0, end), proof: stored.subarray(end) };
}
