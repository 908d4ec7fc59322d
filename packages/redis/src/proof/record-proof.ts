import { createCipheriv, createDecipheriv, createHmac, hash, timingSafeEqual } from "node:crypto";
import {
  encodeRecord,
  type ManagedObject,
  pendingDestruction,
  recordDigest,
  recordKinds,
  StoreUnavailable,
  sysPartition,
  writeUuid,
} from "@holdfast/engine";
import { headerAt, recordHeaderLength } from "../connection/record-header.ts";
import type { StorageKey, StorageKeys } from "../storage-keys/storage-keys.ts";

/** Where a record is asked for. Its MAC is bound to this place, regardless of what its body says. */
export interface RecordPlace {
  readonly partition: number;
  readonly identifier: string;
  /** Whether it is a copy in quarantine, which must never count as the record. */
  readonly isCopy?: boolean;
}

/** A record as a script writes it: its three local numbers go between `digest` and `proof`. */
export interface ProvenRecord {
  readonly version: number;
  /** 32 bytes. */
  readonly digest: Buffer;
  /** 24 bytes: version, facts, number of the storage key, MAC. */
  readonly proof: Buffer;
  readonly body: Buffer;
}

/** The highest version that a header can have. */
export const versionMax = 2 ** 40 - 1;

/** The bits of a header's facts. */
export const factBits = {
  activated: 0x01,
  deactivated: 0x02,
  compromised: 0x04,
  destroyed: 0x08,
  /** Destroyed for clients, and not for good yet. */
  destructionPending: 0x10,
  /** Its last destruction was taken back. */
  restored: 0x20,
  /** The body is sealed. */
  sealed: 0x80,
} as const;

const context = Buffer.from("holdfast-record1", "latin1");
const copyContext = Buffer.from("holdfast-copy--1", "latin1");
const macLength = 16;
const sealTagLength = 16;
/** What the MAC covers: context, key number (2), partition (1), identifier (16), version (5), facts (1), digest (32). */
const provenLength = context.length + 2 + 1 + 16 + 5 + 1 + 32;

/** KEKs are wrapped by a root of trust, and regions are public: neither needs a seal. */
const inClear: ReadonlySet<number> = new Set([recordKinds.Kek.type, recordKinds.Region.type]);

/** Makes the header and body of an object's record at a place. */
export function proveRecord(
  key: StorageKey,
  place: RecordPlace,
  object: ManagedObject,
  version: number,
): ProvenRecord {
  const record = encodeRecord(object);
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  const isSealed = place.partition === sysPartition && !inClear.has(object.objectType);
  const facts = factsOf(object) | (isSealed ? factBits.sealed : 0);
  return proveBytes(key, place, bytes, { digest: recordDigest(object), version, facts });
}

/** The same for bytes that need not be a record that this release knows. */
export function proveBytes(
  key: StorageKey,
  place: RecordPlace,
  bytes: Buffer,
  {
    digest,
    version,
    facts,
  }: { readonly digest: string; readonly version: number; readonly facts: number },
): ProvenRecord {
  const header = Buffer.alloc(recordHeaderLength);
  header.write(digest, headerAt.digest, "hex");
  header.writeUIntBE(version, headerAt.version, 5);
  header.writeUInt8(facts, headerAt.facts);
  header.writeUInt16BE(key.number, headerAt.keyNumber);
  const proven = provenBytes(header, place);
  if (proven === undefined) throw new RangeError(`${place.identifier} is not a lower-case UUID`);
  const mac = macOf(key, proven);
  mac.copy(header, headerAt.mac, 0, macLength);
  return {
    version,
    digest: header.subarray(headerAt.digest, headerAt.promised),
    proof: header.subarray(headerAt.version),
    body: isSealed(header) ? seal(key, mac, proven, bytes) : bytes,
  };
}

/** A record that proved itself. */
export interface OpenedRecord {
  /** The canonical record. */
  readonly bytes: Buffer;
  /** Its SHA-256 in hex. */
  readonly digest: string;
  readonly version: number;
}

/**
 * The record in a value, if the value was made with one of these keys for this place; otherwise throws
 * `StoreUnavailable("corrupt")`.
 */
export function openRecord(keys: StorageKeys, place: RecordPlace, value: Buffer): OpenedRecord {
  if (value.length < recordHeaderLength) throw corrupt("a record is cut short");
  const proof = proofOf(keys, place, value);
  if (proof === undefined) {
    throw corrupt(
      "a stored record does not prove itself: it was altered, moved, or made elsewhere",
    );
  }
  const { key, mac, proven } = proof;
  const body = value.subarray(recordHeaderLength);
  const bytes = isSealed(value) ? unseal(key, mac, proven, body) : body;
  const digest = bytes && hash("sha256", bytes);
  if (bytes === undefined || digest !== value.toString("hex", headerAt.digest, headerAt.promised)) {
    throw corrupt("a stored record is not the one that its tag names");
  }
  return { bytes, digest, version: versionOf(value) };
}

/** The version in a header that proves itself; undefined for any other. The body, if there is one, is not looked at. */
export function provenVersion(
  keys: StorageKeys,
  place: RecordPlace,
  value: Buffer,
): number | undefined {
  if (value.length < recordHeaderLength) return undefined;
  return proofOf(keys, place, value) && versionOf(value);
}

/** Undefined where the MAC is not the one of this place. */
function proofOf(keys: StorageKeys, place: RecordPlace, value: Buffer) {
  const key = keys.get(value.readUInt16BE(headerAt.keyNumber));
  const proven = provenBytes(value, place);
  if (key === undefined || proven === undefined) return undefined;
  const mac = macOf(key, proven);
  const found = value.subarray(headerAt.mac, recordHeaderLength);
  return timingSafeEqual(mac.subarray(0, macLength), found) ? { key, mac, proven } : undefined;
}

/** Undefined for an identifier that is not a lower-case UUID: nothing is proven for it. */
function provenBytes(
  header: Buffer,
  { partition, identifier, isCopy = false }: RecordPlace,
): Buffer | undefined {
  const bytes = Buffer.allocUnsafe(provenLength);
  let at = (isCopy ? copyContext : context).copy(bytes);
  at += header.copy(bytes, at, headerAt.keyNumber, headerAt.mac);
  at = bytes.writeUInt8(partition, at);
  if (!writeUuid(identifier, bytes, at)) return undefined;
  at += 16;
  at += header.copy(bytes, at, headerAt.version, headerAt.keyNumber);
  header.copy(bytes, at, headerAt.digest, headerAt.promised);
  return bytes;
}

function macOf({ record }: StorageKey, proven: Buffer): Buffer {
  return createHmac("sha256", record).update(proven).digest();
}

/** The nonce is a part of the MAC that is not stored: it differs for every version, and for every record. */
function nonceOf(mac: Buffer): Buffer {
  return mac.subarray(16, 28);
}

function seal({ system }: StorageKey, mac: Buffer, proven: Buffer, bytes: Buffer): Buffer {
  const cipher = createCipheriv("aes-256-gcm", system, nonceOf(mac)).setAAD(proven);
  return Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
}

/** Undefined where the seal does not open. */
function unseal(
  { system }: StorageKey,
  mac: Buffer,
  proven: Buffer,
  body: Buffer,
): Buffer | undefined {
  const end = body.length - sealTagLength;
  if (end < 0) return undefined;
  const decipher = createDecipheriv("aes-256-gcm", system, nonceOf(mac), {
    authTagLength: sealTagLength,
  }).setAAD(proven);
  decipher.setAuthTag(body.subarray(end));
  const bytes = decipher.update(body.subarray(0, end));
  try {
    return Buffer.concat([bytes, decipher.final()]);
  } catch {
    return undefined;
  }
}

function isSealed(header: Buffer): boolean {
  return (header.readUInt8(headerAt.facts) & factBits.sealed) !== 0;
}

function versionOf(header: Buffer): number {
  return header.readUIntBE(headerAt.version, 5);
}

/** The bits of an object's facts. */
export function factsOf({ facts }: ManagedObject): number {
  const { activated, deactivated, compromised, destroyed, destruction } = facts;
  return (
    (activated ? factBits.activated : 0) |
    (deactivated ? factBits.deactivated : 0) |
    (compromised ? factBits.compromised : 0) |
    (destroyed ? factBits.destroyed : 0) |
    (pendingDestruction(facts) ? factBits.destructionPending : 0) |
    (destruction?.state === "restored" ? factBits.restored : 0)
  );
}

function corrupt(message: string): StoreUnavailable {
  return new StoreUnavailable("corrupt", message);
}
