import {
  type AttributeName,
  type AttributeReference,
  type AttributeRow,
  attributeItem,
  attributeNameOf,
  attributes,
  enumerationOfTag,
  enumerations,
  enumerationText,
  enumerationValue,
  maskBit,
  maskOfTag,
  masks,
  referenceOf,
  vendorAttribute,
} from "@holdfast/kmip";
import { type Item, ItemType } from "@holdfast/ttlv";
import { Failure } from "../terminal/failure.ts";

/** Reads `NAME=VALUE`, such as `State=Active`, `Name=web-1` or `x-Product=VMware vSphere`, as an attribute. */
export function parseAttribute(text: string): Item {
  const at = text.indexOf("=");
  if (at < 1) throw new Failure(`${text}: an attribute is given as NAME=VALUE`);
  const name = text.slice(0, at);
  const value = text.slice(at + 1);
  const custom = customName(name);
  if (custom !== undefined) {
    const [vendor, own] = custom;
    return vendorAttribute(vendor, own, { tag: 0, type: ItemType.TextString, value });
  }
  return attributeFrom(attributeNamed(name), value);
}

/** Reads an attribute's name as a reference to it. */
export function parseReference(name: string): AttributeReference {
  const custom = customName(name);
  if (custom !== undefined) {
    return { tag: attributes.VendorAttribute.tag, key: custom.join("\0") };
  }
  return { tag: attributes[attributeNamed(name)].tag, key: "" };
}

/** `x-Name` and `y-Name` as in 1.x, `Vendor/Name` for any vendor. */
function customName(name: string): readonly [vendor: string, name: string] | undefined {
  const match = /^([xy])-(.+)$|^([^/]+)\/(.+)$/s.exec(name);
  if (match === null) return undefined;
  return [match[1] ?? match[3] ?? "", match[2] ?? match[4] ?? ""];
}

/** An attribute by its name, however it is written: `Activation Date`, `activation-date`, `ActivationDate`. */
function attributeNamed(name: string): AttributeName {
  const wanted = simple(name);
  const found = (Object.keys(attributes) as AttributeName[]).find((key) => simple(key) === wanted);
  if (found !== undefined) return found;
  throw new Failure(
    `${name} is not an attribute; custom ones are called x-NAME, the others as in the KMIP specification, such as State or ActivationDate`,
  );
}

function simple(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, "");
}

function attributeFrom(name: AttributeName, value: string): Item {
  const row: AttributeRow = attributes[name];
  if (name === "Name") {
    return attributeItem("Name", { value, type: "UninterpretedTextString" });
  }
  const { tag } = row;
  const read = readers[row.type.itemType];
  if (read === undefined) throw new Failure(`${name} cannot be given as text`);
  return read(tag, value, name);
}

type Reader = (tag: number, value: string, name: string) => Item;

const readers: Readonly<Record<number | string, Reader>> = {
  [ItemType.TextString]: (tag, value) => ({ tag, type: ItemType.TextString, value }),
  // Unique Identifier, which may be given in several types.
  any: (tag, value) => ({ tag, type: ItemType.TextString, value }),
  [ItemType.Integer]: (tag, value, name) => ({
    tag,
    type: ItemType.Integer,
    value: maskOfTag(tag) === undefined ? whole(value, name) : maskFrom(tag, value),
  }),
  [ItemType.Interval]: (tag, value, name) => ({
    tag,
    type: ItemType.Interval,
    value: whole(value, name),
  }),
  [ItemType.Enumeration]: (tag, value) => ({
    tag,
    type: ItemType.Enumeration,
    value: enumerationFrom(tag, value),
  }),
  [ItemType.Boolean]: (tag, value, name) => {
    if (value !== "true" && value !== "false") throw new Failure(`${name} is true or false`);
    return { tag, type: ItemType.Boolean, value: value === "true" };
  },
  [ItemType.DateTime]: (tag, value, name) => ({
    tag,
    type: ItemType.DateTime,
    value: dateFrom(value, name),
  }),
  [ItemType.ByteString]: (tag, value, name) => {
    if (!/^([0-9a-f]{2})+$/i.test(value)) throw new Failure(`${name} is given in hex`);
    return { tag, type: ItemType.ByteString, value: Buffer.from(value, "hex") };
  },
};

function whole(value: string, name: string): number {
  const number = Number(value);
  if (value.trim() !== "" && Number.isInteger(number)) return number;
  throw new Failure(`${name} is a whole number, not ${value}`);
}

/** Bits by name, separated by commas: `Encrypt,Decrypt`. */
function maskFrom(tag: number, value: string): number {
  const name = maskOfTag(tag);
  return value
    .split(",")
    .map((part) => {
      const bit = maskBit(tag, part.trim());
      if (bit !== undefined) return bit;
      const known = name === undefined ? [] : Object.keys(masks[name]);
      throw new Failure(`${part} is not a ${name ?? "bit"}; there are ${known.join(", ")}`);
    })
    .reduce((all, bit) => all | bit, 0);
}

/** Common names that differ from KMIP's. */
const commonNames: Readonly<Record<string, string>> = {
  "3des": "des3",
  tripledes: "des3",
  "3desede": "des3",
  desede: "des3",
};

/** The name of an algorithm as KMIP has it, from how people write it: `aes`, `3DES`, `hmac-sha256`. */
export function algorithmFrom(text: string): string {
  const { tag } = attributes.CryptographicAlgorithm;
  return enumerationText(tag, enumerationFrom(tag, text)) ?? text;
}

function enumerationFrom(tag: number, value: string): number {
  const known = enumerationValue(tag, value);
  if (known !== undefined) return known;
  const name = enumerationOfTag(tag);
  const values = name === undefined ? [] : Object.keys(enumerations[name]);
  const wanted = commonNames[simple(value)] ?? simple(value);
  const found = values.find((each) => simple(each) === wanted);
  if (found !== undefined) return enumerationFrom(tag, found);
  throw new Failure(`${value} is not a ${name ?? "value"}; there are ${values.join(", ")}`);
}

/** Seconds since the epoch, or a date as ISO 8601 writes it; `now` is the moment of the request. */
function dateFrom(value: string, name: string): bigint {
  if (/^-?\d+$/.test(value)) return BigInt(value);
  const ms = value === "now" ? Date.now() : Date.parse(value);
  if (!Number.isNaN(ms)) return BigInt(Math.floor(ms / 1000));
  throw new Failure(`${name} is a date, such as 2027-01-31T12:00:00Z or now, not ${value}`);
}

/** The name of a reference, as a user writes it. */
export function referenceText(reference: AttributeReference): string {
  const custom = reference.key.split("\0");
  if (custom.length === 2) return custom.join(/^[xy]$/.test(custom[0] ?? "") ? "-" : "/");
  return attributeNameOf(reference.tag) ?? reference.key;
}

/** Whether an item is a value of the attribute. */
export function isOf(reference: AttributeReference, item: Item): boolean {
  const own = referenceOf(item);
  return own.tag === reference.tag && own.key === reference.key;
}
