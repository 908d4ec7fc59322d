import { type Item, ItemType, integer, structure, textString } from "@holdfast/ttlv";
import type { Register, Stamp } from "./record.ts";
import { ItemReader, pairItem, pairOf, RecordError, typed } from "./record-items.ts";
import { recordTags as tags } from "./record-tags.ts";
import { vendorItem, vendorOf, vendorTags } from "./vendor-attribute.ts";

/** The order of registers in a record: by attribute, key, index, origin. */
export function compareRegisters(a: Register, b: Register): number {
  return (
    a.tag - b.tag ||
    compareText(a.key, b.key) ||
    a.index - b.index ||
    compareText(a.origin, b.origin)
  );
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/**
 * Registers as items. Stamp and origin are written once for all that share them, and an attribute's value names its own
 * attribute, so that a register of a new object takes no more bytes than its value.
 */
export function registerItems(
  registers: readonly Register[],
  regionNumber: (region: string) => number,
): Item[] {
  const items: Item[] = [];
  const sorted = registers.toSorted(compareRegisters);
  let stamp: Stamp | undefined;
  let origin = "";
  let previous: Register | undefined;
  for (const register of sorted) {
    if (previous !== undefined && compareRegisters(previous, register) === 0) {
      throw new RangeError(`two registers of attribute ${register.tag} have the same identity`);
    }
    previous = register;
    if (stamp?.us !== register.stamp.us || stamp.region !== register.stamp.region) {
      stamp = register.stamp;
      items.push(pairItem(tags.Stamp, stamp.us, regionNumber(stamp.region)));
    }
    if (origin !== register.origin) {
      origin = register.origin;
      items.push(textString(tags.Origin, origin));
    }
    if (register.index !== 0) items.push(integer(tags.Index, register.index));
    pushValue(items, register);
  }
  return items;
}

function pushValue(items: Item[], register: Register): void {
  const { tag, key, value } = register;
  if (key !== "") items.push(textString(tags.Key, key));
  if (value === undefined) items.push(integer(tags.NoValue, tag));
  else items.push(shortForm(tag, key, value) ?? longForm(tag, value));
}

/** The item that holds an attribute's value, if its tag names the attribute too; else undefined. */
function shortForm(tag: number, key: string, value: Item): Item | undefined {
  const vendor = tag === vendorTags.VendorAttribute ? vendorOf(value) : undefined;
  if (vendor?.key === key) return vendor.value;
  return value.tag === tag && key === "" && !isOwn(tag) ? value : undefined;
}

function longForm(tag: number, value: Item): Item {
  return structure(tags.AnyValue, [integer(tags.AttributeTag, tag), value]);
}

/** Tags that mean something else among registers: ours, and the one of a vendor attribute's value. */
function isOwn(tag: number): boolean {
  return tag >= 0x540000 || tag === vendorTags.AttributeValue;
}

/** The inverse of `registerItems`; registers out of order are a `RecordError`. */
export function registersOf(
  items: readonly Item[],
  regionName: (region: number) => string,
): readonly Register[] {
  const registers: Register[] = [];
  const reader = new ItemReader(items);
  let stamp: Stamp | undefined;
  let origin = "";
  while (!reader.done) {
    const stampItem = reader.maybe(tags.Stamp);
    if (stampItem !== undefined) stamp = readStamp(stampItem, stamp, regionName);
    if (stamp === undefined) throw new RecordError("a register has no stamp");
    const originItem = reader.maybe(tags.Origin);
    if (originItem !== undefined) origin = readOrigin(originItem, origin);
    const register = readRegister(reader, origin, stamp);
    const previous = registers.at(-1);
    if (previous !== undefined && compareRegisters(previous, register) >= 0) {
      throw new RecordError("registers are out of order");
    }
    registers.push(register);
  }
  return registers;
}

function readStamp(
  item: Item,
  before: Stamp | undefined,
  regionName: (region: number) => string,
): Stamp {
  const [us, number] = pairOf(item);
  const region = regionName(number);
  if (us !== before?.us || region !== before.region) return { us, region };
  throw new RecordError("a stamp is repeated");
}

function readOrigin(item: Item, before: string): string {
  const origin = typed(item, ItemType.TextString);
  if (origin !== before) return origin;
  throw new RecordError("an origin is repeated");
}

function readRegister(reader: ItemReader, origin: string, stamp: Stamp): Register {
  const indexItem = reader.maybe(tags.Index);
  const index = indexItem === undefined ? 0 : typed(indexItem, ItemType.Integer);
  const keyItem = reader.maybe(tags.Key);
  const key = keyItem === undefined ? "" : typed(keyItem, ItemType.TextString);
  if ((indexItem && index === 0) || (keyItem && key === "")) {
    throw new RecordError("an index or a key has its default value");
  }
  const item = reader.any();
  if (item.tag === tags.NoValue) {
    const tag = typed(item, ItemType.Integer);
    return { tag, index, origin, key, value: undefined, stamp };
  }
  if (item.tag === tags.AnyValue) {
    const inner = new ItemReader(typed(item, ItemType.Structure));
    const tag = typed(inner.item(tags.AttributeTag), ItemType.Integer);
    const value = inner.any();
    inner.end();
    if (shortForm(tag, key, value)) throw new RecordError("a register is not in its short form");
    return { tag, index, origin, key, value, stamp };
  }
  if (item.tag === vendorTags.AttributeValue) {
    if (!key.includes("\0")) throw new RecordError("a vendor attribute has no key");
    const value = vendorItem({ key, value: item });
    return { tag: value.tag, index, origin, key, value, stamp };
  }
  if (isOwn(item.tag) || key !== "") throw new RecordError(`tag ${item.tag} is not a register`);
  return { tag: item.tag, index, origin, key, value: item, stamp };
}
