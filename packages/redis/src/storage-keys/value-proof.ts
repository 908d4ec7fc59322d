import { createHmac } from "node:crypto";
import type { StorageKey } from "./storage-keys.ts";

/** Bytes of a value's proof: number of the storage key (2), first half of HMAC-SHA-256. */
export const valueProofLength = 2 + 16;

/** Where a value is kept in Redis: a key and a field of its hash. Its MAC is bound to this place. */
export interface ValuePlace {
  readonly key: string;
  readonly field: string;
}

const context = Buffer.from("holdfast-value-1", "latin1");

/** Makes the proof of a value at a place. */
export function proveValue(key: StorageKey, place: ValuePlace, value: string | Buffer): Buffer {
  const proof = Buffer.alloc(valueProofLength);
  proof.writeUInt16BE(key.number);
  macOf(key, place, value).copy(proof, 2, 0, valueProofLength - 2);
  return proof;
}

function macOf({ number, value: key }: StorageKey, place: ValuePlace, value: string | Buffer) {
  const mac = createHmac("sha256", key).update(context);
  const numbers = Buffer.alloc(6);
  const names = [Buffer.from(place.key), Buffer.from(place.field)] as const;
  numbers.writeUInt16BE(number, 0);
  numbers.writeUInt16BE(names[0].length, 2);
  numbers.writeUInt16BE(names[1].length, 4);
  return mac.update(numbers).update(names[0]).update(names[1]).update(value).digest();
}
