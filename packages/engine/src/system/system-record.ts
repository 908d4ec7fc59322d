import { hash } from "node:crypto";
import {
  boolean,
  byteString,
  type Item,
  ItemType,
  longInteger,
  structure,
  textString,
} from "@holdfast/ttlv";
import { hashUuid } from "../base/uuid.ts";
import type { ManagedObject } from "../record/record.ts";
import { ItemReader, safe, typed } from "../record/record-items.ts";
import { recordTags as tags } from "../record/record-tags.ts";
import {
  type AttributeName,
  currentValues,
  deleteValues,
  type Now,
  setValue,
  valueAt,
} from "../record/registers.ts";
import { bareRecord, documentTerms } from "./document.ts";
import type { IndexTerm } from "./index-terms.ts";
import { systemInstance } from "./partition.ts";
import type { KekWrap, WrappedKek } from "./wrapped-kek.ts";

/**
 * Object types of system records, in the range that KMIP leaves to extensions (KMIP 2.1, 11.39). They belong to
 * `systemInstance` and travel between regions as every object does.
 */
export const systemTypes = {
  Instance: 0x80000001,
  Kek: 0x80000002,
  Region: 0x80000003,
  Certificate: 0x80000004,
  Token: 0x80000005,
  User: 0x80000006,
  Authority: 0x80000007,
  Setting: 0x80000008,
  Backup: 0x80000009,
} as const;

/** An instance as its system record names it; its status lies in its own partition. */
export interface InstanceEntry {
  readonly instance: string;
  readonly name: string;
}

/** A KEK as its system record holds it; the record's identifier is the KEK's. */
export interface KekEntry {
  readonly instance: string;
  readonly kek: WrappedKek;
}

/** A region as its system record holds it. */
export interface RegionEntry {
  readonly region: string;
  /** Grows each time the region rejoins. */
  readonly generation: number;
  /** The highest generation that was retired; 0 for none. */
  readonly retired: number;
}

/** A generation to come must be a number too: else a region that was retired up to the last one never came back. */
const generationMax = 2 ** 32;

/** The identifier of the one record of this type that speaks of `name`: UUID version 8 (RFC 9562, 5.8) of its SHA-256. */
export function systemIdentifier(objectType: number, name: string): string {
  return hashUuid(`${objectType}\0${name}`);
}

/** A new instance's record. */
export function instanceRecord({ instance, name }: InstanceEntry, now: Now): ManagedObject {
  const identifier = systemIdentifier(systemTypes.Instance, instance);
  const bare = bareRecord(systemTypes.Instance, identifier, [
    textString(tags.OfInstance, instance),
  ]);
  return withInstanceName(bare, name, now);
}

/** An instance's record under another name. */
export function withInstanceName(record: ManagedObject, name: string, now: Now): ManagedObject {
  return written(record, names.instanceName, textString(tags.InstanceName, name), now);
}

/** What an instance's record says; undefined for any other record. */
export function readInstanceRecord(record: ManagedObject): InstanceEntry | undefined {
  return reading(record, systemTypes.Instance, () => {
    const [instance] = record.fixed;
    const name = valueAt(record.registers, names.instanceName);
    return { instance: textOf(instance), name: name === undefined ? "" : textOf(name) };
  });
}

/** A new KEK's record; `first` where it was made since its instance has none. */
export function kekRecord({ instance, kek }: KekEntry, first: boolean, now: Now): ManagedObject {
  const record = bareRecord(systemTypes.Kek, kek.id, [
    textString(tags.OfInstance, instance),
    longInteger(tags.MadeMs, BigInt(kek.createdMs)),
    byteString(tags.KekCheck, kek.check),
    boolean(tags.FirstKek, first),
  ]);
  return kek.wraps.reduce((made, wrap) => withKekWrap(made, wrap, now), record);
}

/** A KEK's record with a region's wrap, over the one that the region had. */
export function withKekWrap(record: ManagedObject, wrap: KekWrap, now: Now): ManagedObject {
  const value = structure(tags.KekWrap, [
    textString(tags.RootOfTrust, wrap.rootOfTrust),
    textString(tags.RootKeyVersion, wrap.rootKeyVersion),
    byteString(tags.WrapBlob, wrap.blob),
  ]);
  return written(record, { tag: tags.KekWrap, key: wrap.region }, value, now);
}

/** A KEK's record without any region's wrap: nothing that the KEK seals can be opened by it. The same where it has none. */
export function withoutKekWraps(record: ManagedObject, now: Now): ManagedObject {
  const regions = record.registers
    .filter(({ tag, value }) => tag === tags.KekWrap && value !== undefined)
    .map(({ key }) => key);
  if (regions.length === 0) return record;
  const registers = regions.reduce(
    (rest, region) => deleteValues(rest, { tag: tags.KekWrap, key: region }, now),
    record.registers,
  );
  const lastChange = Math.max(record.lastChange, Math.floor(now.us / 1_000_000));
  return { ...record, registers, lastChange };
}

/** Whether every wrap that a KEK ever had was taken away: its instance was deleted. */
export function hasErasedWraps({ registers }: ManagedObject): boolean {
  const wraps = registers.filter(({ tag }) => tag === tags.KekWrap);
  return wraps.length > 0 && wraps.every(({ value }) => value === undefined);
}

/** What a KEK's record says, but for wraps that are none; undefined for any other record. */
export function readKekRecord(record: ManagedObject): KekEntry | undefined {
  return reading(record, systemTypes.Kek, () => {
    const { uniqueIdentifier: id, registers } = record;
    const { instance, createdMs, check } = kekFixed(record);
    const regions = registers.filter(({ tag }) => tag === tags.KekWrap).map(({ key }) => key);
    const wraps = regions.flatMap((region) =>
      currentValues(registers, { tag: tags.KekWrap, key: region }).flatMap(
        ({ value }) => reading(record, systemTypes.Kek, () => readWrap(region, value)) ?? [],
      ),
    );
    return { instance, kek: { id, createdMs, check, wraps } };
  });
}

/** A new region's record. */
export function regionRecord(
  { region, generation, retired }: RegionEntry,
  now: Now,
): ManagedObject {
  const identifier = systemIdentifier(systemTypes.Region, region);
  const bare = bareRecord(systemTypes.Region, identifier, [textString(tags.OfRegion, region)]);
  return withRegion(bare, { generation, retired }, now);
}

/** A region's record with what is given anew. */
export function withRegion(
  record: ManagedObject,
  { generation, retired }: Partial<Omit<RegionEntry, "region">>,
  now: Now,
): ManagedObject {
  const set = (object: ManagedObject, name: AttributeName, value: number | undefined) =>
    value === undefined ? object : written(object, name, longInteger(name.tag, BigInt(value)), now);
  return set(set(record, names.generation, generation), names.retired, retired);
}

/** What a region's record says; undefined for any other record. */
export function readRegionRecord(record: ManagedObject): RegionEntry | undefined {
  return reading(record, systemTypes.Region, () => {
    const number = (name: AttributeName): number => {
      const value = valueAt(record.registers, name);
      const said = value === undefined ? 0 : safe(typed(value, ItemType.LongInteger));
      if (said > generationMax) throw new RangeError("no region has rejoined so often");
      return said;
    };
    const region = textOf(record.fixed[0]);
    return { region, generation: number(names.generation), retired: number(names.retired) };
  });
}

/** The term under which all KEKs of an instance are found. */
export function kekTerm(instance: string): string {
  return `k${hash("sha256", instance, "base64url").slice(0, 10)}`;
}

/**
 * The index terms of a system record: those of a KEK, of whose kind one may be the first of its instance, and what a
 * document claims for itself alone.
 */
export function systemTerms(record: ManagedObject): readonly IndexTerm[] {
  const found = reading(record, systemTypes.Kek, () => kekFixed(record));
  if (found === undefined) return documentTerms(record);
  const { instance, first } = found;
  const unique = `K${hash("sha256", instance, "base64url").slice(0, 22)}`;
  const claim = first && record.facts.destroyed === undefined;
  return [
    { term: kekTerm(instance), unique: false },
    ...(claim ? [{ term: unique, unique: true }] : []),
  ];
}

const names = {
  instanceName: { tag: tags.InstanceName, key: "" },
  generation: { tag: tags.Generation, key: "" },
  retired: { tag: tags.Retired, key: "" },
} as const;

function written(record: ManagedObject, name: AttributeName, value: Item, now: Now): ManagedObject {
  const made = setValue(record.registers, name, value, now);
  if (made === undefined) throw new RangeError("a system record has too many registers");
  const lastChange = Math.max(record.lastChange, Math.floor(now.us / 1_000_000));
  return { ...record, registers: made.registers, lastChange };
}

/**
 * What `read` finds in a record of this type; undefined where it is not as it should be: what another release or a
 * faulty region sent must not close the keys of everyone.
 */
function reading<Entry>(
  record: ManagedObject,
  objectType: number,
  read: () => Entry,
): Entry | undefined {
  if (record.instance !== systemInstance || record.objectType !== objectType) return undefined;
  try {
    return read();
  } catch {
    return undefined;
  }
}

function kekFixed({ fixed }: ManagedObject) {
  const reader = new ItemReader(fixed);
  const instance = textOf(reader.item(tags.OfInstance));
  const createdMs = safe(typed(reader.item(tags.MadeMs), ItemType.LongInteger));
  const check = typed(reader.item(tags.KekCheck), ItemType.ByteString);
  const first = typed(reader.item(tags.FirstKek), ItemType.Boolean);
  reader.end();
  return { instance, createdMs, check, first };
}

function readWrap(region: string, value: Item): KekWrap {
  const reader = new ItemReader(typed(value, ItemType.Structure));
  const rootOfTrust = textOf(reader.item(tags.RootOfTrust));
  const rootKeyVersion = textOf(reader.item(tags.RootKeyVersion));
  const blob = typed(reader.item(tags.WrapBlob), ItemType.ByteString);
  reader.end();
  return { region, rootOfTrust, rootKeyVersion, blob };
}

function textOf(item: Item | undefined): string {
  if (item?.type !== ItemType.TextString) throw new TypeError("a system record lacks a text");
  return item.value;
}
