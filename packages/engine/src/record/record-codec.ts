import { hash } from "node:crypto";
import {
  byteString,
  dateTime,
  decode,
  encode,
  enumeration,
  type Item,
  ItemType,
  integer,
  type Limits,
  structure,
  textString,
} from "@holdfast/ttlv";
import { StoreUnavailable } from "../base/errors.ts";
import { uuidText } from "../base/uuid.ts";
import type { Destruction, Fact, Facts, ManagedObject, Revocation, Tag } from "./record.ts";
import {
  ItemReader,
  identifierItem,
  identifierOf,
  pairItem,
  pairOf,
  RecordError,
  safe,
  typed,
  UnknownFormat,
  uuidBytes,
} from "./record-items.ts";
import { recordTags as tags } from "./record-tags.ts";
import { registerItems, registersOf } from "./register-codec.ts";
import type { SealedMaterial } from "./sealed.ts";

/** The format that `encodeRecord` writes; the first field of every record. */
export const recordFormat = 1;

const regionsMax = 256;
const nonceBytes = 12;
/**
 * What was stored must be readable regardless of the present limits of requests. A record nests a request's values four
 * deeper, and gathers those of several requests, the largest of which has 8 MiB.
 */
export const storedLimits: Limits = { depthMax: 64, bytesMax: 1 << 28, itemsMax: 1_000_000 };

type RegionNumber = (region: string) => number;
type RegionName = (region: number) => string;

/** Bytes of an object's record, and their digest once it was needed. */
interface Encoded {
  readonly bytes: Uint8Array;
  digest: string | undefined;
}

/**
 * The encoded records of objects, so that a record is encoded once on its way to stores and regions. An object never
 * changes: an edited one is another object, which has no entry yet. Record bytes are shared: nobody may write to them.
 */
const known = new WeakMap<ManagedObject, Encoded>();

function encodedOf(object: ManagedObject): Encoded {
  let encoded = known.get(object);
  if (encoded === undefined) {
    encoded = { bytes: encodeAnew(object), digest: undefined };
    known.set(object, encoded);
  }
  return encoded;
}

/**
 * The canonical record: TTLV, the same bytes for the same object regardless of the order of its
 * registers. It holds nothing local to a store.
 */
export function encodeRecord(object: ManagedObject): Uint8Array {
  return encodedOf(object).bytes;
}

/** SHA-256 of an object's record in hex: 64 digits. */
export function recordDigest(object: ManagedObject): string {
  const encoded = encodedOf(object);
  encoded.digest ??= hash("sha256", encoded.bytes);
  return encoded.digest;
}

/** The tag of an object's record. */
export function recordTag(object: ManagedObject): Tag {
  return tagOfDigest(recordDigest(object));
}

/** True if two objects were encoded or decoded and have the same record; false proves nothing. */
export function areKnownAlike(a: ManagedObject, b: ManagedObject): boolean {
  const [one, other] = [known.get(a), known.get(b)];
  return one !== undefined && other !== undefined && Buffer.compare(one.bytes, other.bytes) === 0;
}

function encodeAnew(object: ManagedObject): Uint8Array {
  const regions = regionsOf(object);
  const numbers = new Map(regions.map((region, index) => [region, index]));
  const numberOf: RegionNumber = (region) => numbers.get(region) ?? 0;
  const { material } = object;
  const record = structure(tags.Record, [
    integer(tags.Format, recordFormat),
    identifierItem(tags.UniqueIdentifier, object.uniqueIdentifier),
    identifierItem(tags.Instance, object.instance),
    enumeration(tags.ObjectType, object.objectType),
    ...regions.map((region) => textString(tags.Region, region)),
    structure(tags.Fixed, object.fixed),
    ...(material === undefined ? [] : [materialItem(material)]),
    ...factItems(object.facts, numberOf),
    dateTime(tags.LastChange, BigInt(object.lastChange)),
    structure(tags.Registers, registerItems(object.registers, numberOf)),
  ]);
  return encode(record, Buffer.allocUnsafe);
}

/**
 * The object of a record, whose bytes are the canonical ones. Throws `StoreUnavailable("unknownFormat")` for an intact
 * record of another format or with more fields, and `StoreUnavailable("corrupt")` for anything else that is not exactly
 * a record. `digest` is the SHA-256 of the bytes in hex, if that was computed.
 */
export function decodeRecord(bytes: Uint8Array, digest?: string): ManagedObject {
  try {
    const object = readRecord(decode(bytes, storedLimits));
    known.set(object, { bytes, digest });
    return object;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unknown";
    if (cause instanceof UnknownFormat) {
      const message = `a stored record needs another release than this node's: ${why}`;
      throw new StoreUnavailable("unknownFormat", message, { cause });
    }
    throw new StoreUnavailable("corrupt", `a stored record does not decode: ${why}`, { cause });
  }
}

/** The identifier in a record of any format that has it under the same tag; undefined if it cannot be found. */
export function identifierIn(bytes: Uint8Array): string | undefined {
  try {
    const root = decode(bytes, storedLimits);
    const items = root.type === ItemType.Structure ? root.value : [];
    const found = items.find(({ tag }) => tag === tags.UniqueIdentifier);
    return found && identifierOf(found);
  } catch {
    return undefined;
  }
}

/** The tag of a record: the first 16 bytes of SHA-256 in hex. */
export function tagOf(recordBytes: Uint8Array): Tag {
  return tagOfDigest(hash("sha256", recordBytes));
}

/** The tag of a record whose SHA-256 this is, in hex. */
export function tagOfDigest(digest: string): Tag {
  return digest.slice(0, 32);
}

/** Every region that a fact or a register names by its number, sorted. */
function regionsOf(object: ManagedObject): readonly string[] {
  const regions = new Set([
    ...regionsOfFacts(object.facts),
    ...object.registers.map((register) => register.stamp.region),
  ]);
  if (regions.size > regionsMax) throw new RangeError(`more than ${regionsMax} regions`);
  return [...regions].toSorted();
}

/** The regions that an object's facts name. */
export function regionsOfFacts(facts: Facts): readonly string[] {
  const { served, activated, deactivated, compromised, destroyed, destruction } = facts;
  const all = [served, activated, deactivated, compromised, destroyed, destruction];
  return all.flatMap((fact) => (fact === undefined ? [] : [fact.region]));
}

/** The item for sealed data: an object's material, unless another tag is given. */
export function materialItem(material: SealedMaterial, tag: number = tags.Material): Item {
  const { kekId, nonce, ciphertext } = material;
  const kek = uuidBytes(kekId);
  if (kek !== undefined && nonce.length === nonceBytes) {
    return byteString(tag, Buffer.concat([kek, nonce, ciphertext]));
  }
  return structure(tag, [
    identifierItem(tags.KekId, kekId),
    byteString(tags.Nonce, nonce),
    byteString(tags.Ciphertext, ciphertext),
  ]);
}

/** The inverse of `materialItem`. */
export function readMaterial(item: Item): SealedMaterial {
  if (item.type === ItemType.ByteString) {
    const { value } = item;
    if (value.length < 16 + nonceBytes) throw new RecordError("sealed material is cut short");
    return {
      kekId: uuidText(value),
      nonce: value.subarray(16, 16 + nonceBytes),
      ciphertext: value.subarray(16 + nonceBytes),
    };
  }
  const reader = new ItemReader(typed(item, ItemType.Structure));
  const kekId = identifierOf(reader.item(tags.KekId));
  const nonce = typed(reader.item(tags.Nonce), ItemType.ByteString);
  const ciphertext = typed(reader.item(tags.Ciphertext), ItemType.ByteString);
  reader.end();
  return { kekId, nonce, ciphertext };
}

function factItems(facts: Facts, numberOf: RegionNumber): Item[] {
  const { served, activated, deactivated, compromised, destroyed, destruction } = facts;
  const fact = (tag: number, given: Fact | undefined): Item[] =>
    given === undefined ? [] : [pairItem(tag, given.time, numberOf(given.region))];
  const revocation = (tag: number, given: Revocation | undefined): Item[] => {
    if (given === undefined) return [];
    const { reasonCode, message, occurred } = given;
    return [
      structure(tag, [
        ...fact(tags.At, given),
        ...(reasonCode === undefined ? [] : [enumeration(tags.ReasonCode, reasonCode)]),
        ...(message === undefined ? [] : [textString(tags.Message, message)]),
        ...(occurred === undefined ? [] : [dateTime(tags.Occurred, BigInt(occurred))]),
      ]),
    ];
  };
  return [
    ...fact(tags.Served, served),
    ...fact(tags.Activated, activated),
    ...revocation(tags.Deactivated, deactivated),
    ...revocation(tags.Compromised, compromised),
    ...fact(tags.Destroyed, destroyed),
    ...(destruction === undefined ? [] : [destructionItem(destruction, numberOf)]),
  ];
}

const destructionStates = ["pending", "restored"] as const;

function destructionItem(
  { time, region, us, state, until }: Destruction,
  numberOf: RegionNumber,
): Item {
  return structure(tags.Destruction, [
    pairItem(tags.At, time, numberOf(region)),
    pairItem(tags.Stamp, us, numberOf(region)),
    enumeration(tags.DestructionState, destructionStates.indexOf(state) + 1),
    dateTime(tags.Until, BigInt(until)),
  ]);
}

function readDestruction(item: Item, nameOf: RegionName): Destruction {
  const reader = new ItemReader(typed(item, ItemType.Structure));
  const at = readFact(reader.item(tags.At), nameOf);
  const [us, region] = pairOf(reader.item(tags.Stamp));
  const number = typed(reader.item(tags.DestructionState), ItemType.Enumeration);
  const until = safe(typed(reader.item(tags.Until), ItemType.DateTime));
  reader.end();
  const state = destructionStates[number - 1];
  if (state === undefined) throw new UnknownFormat(`a destruction has state ${number}`);
  if (nameOf(region) !== at.region) throw new RecordError("a destruction names two regions");
  return { ...at, state, until, us };
}

function readFact(item: Item, nameOf: RegionName): Fact {
  const [time, region] = pairOf(item);
  return { time, region: nameOf(region) };
}

function readRevocation(item: Item, nameOf: RegionName): Revocation {
  const reader = new ItemReader(typed(item, ItemType.Structure));
  const at = readFact(reader.item(tags.At), nameOf);
  const reasonCode = reader.maybe(tags.ReasonCode);
  const message = reader.maybe(tags.Message);
  const occurred = reader.maybe(tags.Occurred);
  reader.end();
  return {
    ...at,
    ...(reasonCode && { reasonCode: typed(reasonCode, ItemType.Enumeration) }),
    ...(message && { message: typed(message, ItemType.TextString) }),
    ...(occurred && { occurred: safe(typed(occurred, ItemType.DateTime)) }),
  };
}

function readFacts(reader: ItemReader, nameOf: RegionName): Facts {
  const served = reader.maybe(tags.Served);
  const activated = reader.maybe(tags.Activated);
  const deactivated = reader.maybe(tags.Deactivated);
  const compromised = reader.maybe(tags.Compromised);
  const destroyed = reader.maybe(tags.Destroyed);
  const destruction = reader.maybe(tags.Destruction);
  return {
    ...(served && { served: readFact(served, nameOf) }),
    ...(activated && { activated: readFact(activated, nameOf) }),
    ...(deactivated && { deactivated: readRevocation(deactivated, nameOf) }),
    ...(compromised && { compromised: readRevocation(compromised, nameOf) }),
    ...(destroyed && { destroyed: readFact(destroyed, nameOf) }),
    ...(destruction && { destruction: readDestruction(destruction, nameOf) }),
  };
}

function readRegions(reader: ItemReader): readonly string[] {
  const regions: string[] = [];
  for (let item = reader.maybe(tags.Region); item; item = reader.maybe(tags.Region)) {
    const region = typed(item, ItemType.TextString);
    const previous = regions.at(-1);
    if (previous !== undefined && previous >= region) {
      throw new RecordError("regions are out of order");
    }
    regions.push(region);
  }
  return regions;
}

function readRecord(root: Item): ManagedObject {
  if (root.tag !== tags.Record) throw new RecordError("the outermost tag is not a record's");
  const reader = new ItemReader(typed(root, ItemType.Structure));
  const format = typed(reader.item(tags.Format), ItemType.Integer);
  if (format !== recordFormat) {
    throw new UnknownFormat(`its format is ${format}, and this node reads ${recordFormat}`);
  }
  const uniqueIdentifier = identifierOf(reader.item(tags.UniqueIdentifier));
  const instance = identifierOf(reader.item(tags.Instance));
  const objectType = typed(reader.item(tags.ObjectType), ItemType.Enumeration);
  const regions = readRegions(reader);
  const named = new Set<number>();
  const nameOf: RegionName = (region) => {
    const name = regions[region];
    if (name === undefined) throw new RecordError("a region's number has no name");
    named.add(region);
    return name;
  };
  const fixed = typed(reader.item(tags.Fixed), ItemType.Structure);
  const materialGiven = reader.maybe(tags.Material);
  const material = materialGiven && readMaterial(materialGiven);
  if (material && materialItem(material).type !== materialGiven.type) {
    throw new RecordError("sealed material is not in its short form");
  }
  const facts = readFacts(reader, nameOf);
  const lastChange = safe(typed(reader.item(tags.LastChange), ItemType.DateTime));
  const registers = registersOf(typed(reader.item(tags.Registers), ItemType.Structure), nameOf);
  reader.end();
  if (named.size !== regions.length) throw new RecordError("a listed region is not used");
  return {
    uniqueIdentifier,
    instance,
    objectType,
    fixed,
    material,
    facts,
    registers,
    lastChange,
  };
}
