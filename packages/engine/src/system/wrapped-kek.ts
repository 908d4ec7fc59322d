import type { ManagedObject, Register } from "../record/record.ts";
import { recordTags as tags } from "../record/record-tags.ts";
import type { Now } from "../record/registers.ts";
import type { Wrap } from "./fields.ts";
import { changeRecord, makeRecord, readRecord, type SystemRecord } from "./system-record.ts";

/** A KEK wrapped by a region's root of trust. */
export interface KekWrap extends Wrap {
  readonly region: string;
}

export interface WrappedKek {
  readonly id: string;
  readonly createdMs: number;
  /** Key check value (`kekCheck`): a region that gets another key notices before it seals anything with it. */
  readonly check: Uint8Array;
  readonly wraps: readonly KekWrap[];
}

/** A KEK and the instance that it belongs to. */
export interface KekEntry {
  readonly instance: string;
  readonly kek: WrappedKek;
}

/** See `kekRegistersOf`. */
export interface KekRegisters {
  readonly wrap: Register | undefined;
  readonly rekey: Register | undefined;
}

const withheldVersion = "8";
const versionAt = 14;

/**
 * Whether a KEK withholds what is destroyed with a delay. Its identifier says so, a UUID of version 8 (RFC 9562, 5.8), so
 * that all code that meets a seal knows it without asking: no KEK that seals for clients has such an identifier.
 */
export function isWithheldKek(id: string): boolean {
  return id[versionAt] === withheldVersion;
}

/** The identifier of a KEK that withholds, from any UUID. */
export function withheldKekId(uuid: string): string {
  return uuid.slice(0, versionAt) + withheldVersion + uuid.slice(versionAt + 1);
}

/** A new KEK's record; `first` if it was made because its instance has none. */
export function kekRecord({ instance, kek }: KekEntry, first: boolean, now: Now): ManagedObject {
  const { id, createdMs, check } = kek;
  const wraps = Object.fromEntries(kek.wraps.map(({ region, ...wrap }) => [region, wrap]));
  return makeRecord("Kek", id, { instance, createdMs, check, first, wraps }, now);
}

/** A KEK's record with a region's wrap, in place of the one that the region had. */
export function withKekWrap(
  record: ManagedObject,
  { region, ...wrap }: KekWrap,
  now: Now,
): ManagedObject {
  return changeRecord("Kek", record, { wraps: { [region]: wrap } }, now);
}

/** A KEK's record without any region's wrap: it can no longer open what the KEK sealed. The same if it has none. */
export function withoutKekWraps(record: ManagedObject, now: Now): ManagedObject {
  const wraps = wrapsOf(record).flatMap(({ key, value }) =>
    value === undefined ? [] : [[key, undefined] as const],
  );
  if (wraps.length === 0) return record;
  return changeRecord("Kek", record, { wraps: Object.fromEntries(wraps) }, now);
}

/** When one of a KEK's wraps was last written: milliseconds; 0 if it never had any. */
export function kekWrittenMs(record: ManagedObject): number {
  return wrapsOf(record).reduce((last, { stamp }) => Math.max(last, stamp.us / 1_000), 0);
}

/** Whether every wrap that a KEK ever had was removed, because its instance was deleted. */
export function hasErasedWraps(record: ManagedObject): boolean {
  const wraps = wrapsOf(record);
  return wraps.length > 0 && wraps.every(({ value }) => value === undefined);
}

/** Whether a region ever had a wrap of this KEK: also one that was removed since, or that is not valid. */
export function everWrapped(record: ManagedObject, region: string): boolean {
  return wrapsOf(record).some(({ key }) => key === region);
}

/** The registers of a KEK's record that a region alone writes: its wrap, and how far its records are under the KEK. */
export function kekRegistersOf({ registers }: ManagedObject, region: string): KekRegisters {
  const named = (tag: number, key: string) =>
    registers.find((register) => register.tag === tag && register.key === key);
  return {
    wrap: named(tags.KekWrap, region),
    rekey: named(tags.DocumentField, `rekey.${region}`),
  };
}

/** What a KEK's record holds; undefined for any other record. */
export function readKekRecord(record: ManagedObject): KekEntry | undefined {
  const read = readRecord("Kek", record);
  return read && wrappedKek(read);
}

/** A KEK as its record holds it, without wraps that are not valid. */
export function wrappedKek(record: SystemRecord<"Kek">): KekEntry {
  const { id, instance, createdMs, check } = record;
  const wraps = Object.entries(record.wraps).flatMap(([region, wrap]) =>
    wrap === undefined ? [] : [{ region, ...wrap }],
  );
  return { instance, kek: { id, createdMs, check, wraps } };
}

function wrapsOf({ registers }: ManagedObject) {
  return registers.filter(({ tag }) => tag === tags.KekWrap);
}
