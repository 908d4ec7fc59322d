import { type Item, ItemType } from "@holdfast/ttlv";
import { uuidText, writeUuid } from "../base/uuid.ts";
import { recordTags } from "./record-tags.ts";

/** Bytes that are not a valid record. Only the codec sees this error. */
export class RecordError extends Error {
  override readonly name = "RecordError";
}

/** An intact record of a format, or with fields, that this release does not know. */
export class UnknownFormat extends RecordError {}

const knownTags: ReadonlySet<number> = new Set(Object.values(recordTags));

/** The 16 bytes of a lower-case UUID; undefined for any other text. */
export function uuidBytes(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(16);
  return writeUuid(text, bytes, 0) ? bytes : undefined;
}

/** A text as an item: 16 bytes for a UUID, which saves 24. */
export function identifierItem(tag: number, text: string): Item {
  const bytes = uuidBytes(text);
  return bytes === undefined
    ? { tag, type: ItemType.TextString, value: text }
    : { tag, type: ItemType.ByteString, value: bytes };
}

/** The inverse of `identifierItem`. */
export function identifierOf(item: Item): string {
  if (item.type === ItemType.ByteString) {
    if (item.value.length !== 16) throw new RecordError("an identifier is not 16 bytes long");
    return uuidText(item.value);
  }
  if (item.type === ItemType.TextString && uuidBytes(item.value) === undefined) return item.value;
  throw new RecordError("an identifier is neither 16 bytes nor text");
}

/** A safe integer and a region's number in one LongInteger. */
export function pairItem(tag: number, value: number, region: number): Item {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`);
  return { tag, type: ItemType.LongInteger, value: BigInt(value) * 256n + BigInt(region) };
}

/** The inverse of `pairItem`. */
export function pairOf(item: Item): readonly [value: number, region: number] {
  if (item.type !== ItemType.LongInteger) throw new RecordError("a pair is not a LongInteger");
  return [safe(item.value >> 8n), Number(item.value & 0xffn)];
}

/** A bigint as a number, which must be a safe integer. */
export function safe(value: bigint): number {
  const double = Number(value);
  if (!Number.isSafeInteger(double)) throw new RecordError("a number is too large");
  return double;
}

/** Reads the items of a structure one after the other; anything unexpected is a `RecordError`. */
export class ItemReader {
  readonly #items: readonly Item[];
  #next = 0;

  constructor(items: readonly Item[]) {
    this.#items = items;
  }

  get done(): boolean {
    return this.#next === this.#items.length;
  }

  /** The next item, with any tag. */
  any(): Item {
    const item = this.#items[this.#next];
    if (item === undefined) throw new RecordError("a record ends too early");
    this.#next += 1;
    return item;
  }

  /** The next item if it has this tag. */
  maybe(tag: number): Item | undefined {
    return this.#items[this.#next]?.tag === tag ? this.any() : undefined;
  }

  /** The next item, which must have this tag. */
  item(tag: number): Item {
    const item = this.any();
    if (item.tag === tag) return item;
    const message = `tag ${item.tag} found where ${tag} is expected`;
    throw knownTags.has(item.tag) ? new RecordError(message) : new UnknownFormat(message);
  }

  end(): void {
    if (!this.done) throw new UnknownFormat("a record has more fields than its format");
  }
}

/** The value of an item that must be of a type. */
export function typed<Type extends ItemType>(
  item: Item,
  type: Type,
): Extract<Item, { readonly type: Type }>["value"] {
  if (item.type !== type) throw new RecordError(`tag ${item.tag} has type ${item.type}`);
  return item.value as never;
}
