import { type Item, ItemType } from "@holdfast/ttlv";
import { KmipError } from "../schema/faults.ts";
import { many, optional, required, struct } from "../schema/schema.ts";
import { isKnownTag } from "../schema/tag-lookup.ts";
import { anyItem, integer, text, type ValueType } from "../schema/value-type.ts";
import { isVersion1, type Version } from "../schema/version.ts";
import {
  type Attribute,
  type AttributeReference,
  type AttributeSet,
  inVersion,
  vendorAttribute,
  vendorKeyOf,
} from "./attribute.ts";
import {
  attributeByName,
  attributeByTag,
  attributeVisible,
  isCustomName,
} from "./attribute-lookup.ts";
import { filterInVersion, type Reader, readAttribute, readFilter } from "./attribute-read.ts";
import { name, vendorReference } from "./attribute-structures.ts";
import { attributes } from "./attributes.ts";

const vendorTag = attributes.VendorAttribute.tag;

/** The Attribute structure on the wire; only Notify may omit the value (KMIP 1.4, 5.1). */
const wire1 = struct("Attribute", {
  name: required("AttributeName", text),
  index: optional("AttributeIndex", integer),
  value: required("AttributeValue", anyItem),
});

function unknown(what: string, version: Version): KmipError {
  return new KmipError("invalidAttribute", `${what} is not an attribute of KMIP ${version}`);
}

/** 1.x names only Custom Attributes of vendor x, the client, and y, the server (KMIP 2.1, 4.60). */
function customName(key: string): string | undefined {
  const customs = `${key.slice(0, 1)}-${key.slice(2)}`;
  return key[1] === "\0" && isCustomName(customs) ? customs : undefined;
}

function nameOf(tag: number, key: string): string | undefined {
  return tag === vendorTag ? customName(key) : attributeByTag(tag)?.name;
}

/** Converts an attribute's item to a version; undefined if the version cannot express it. */
type Writer = (item: Item, version: Version) => Item | undefined;

function decode1(item: Item, version: Version, read: Reader): Attribute {
  const { name: given, index, value } = wire1.decode(item, version);
  const row = attributeByName(given);
  if (row === undefined || !attributeVisible(row.tag, version)) throw unknown(given, version);
  const own =
    row.tag === vendorTag
      ? vendorAttribute(given.slice(0, 1), given.slice(2), value)
      : read(row, { ...value, tag: row.tag }, version);
  return index === undefined ? { item: own } : { item: own, index };
}

function encode1(
  tag: number,
  attribute: Attribute,
  version: Version,
  write: Writer,
): Item | undefined {
  const item = write(attribute.item, version);
  if (item === undefined) return undefined;
  const custom = item.tag === vendorTag;
  const given = nameOf(item.tag, custom ? vendorKeyOf(item) : "");
  if (given === undefined) return undefined;
  const value = custom ? attributes.VendorAttribute.type.decode(item, version).value : item;
  const { index } = attribute;
  // An absent index means 0; most peers write 0 in this way.
  return wire1.encode(
    tag,
    { name: given, ...(index === undefined || index === 0 ? {} : { index }), value },
    version,
  );
}

const form1 = (read: Reader, write: Writer): ValueType<Attribute> => ({
  itemType: ItemType.Structure,
  decode: (item, version) => decode1(item, version, read),
  encode: (tag, attribute, version) => encode1(tag, attribute, version, write),
});

/** 1.x Attribute: name, index, value (KMIP 1.4, 2.1.1). Omits one that the version lacks. */
export const attribute1: ValueType<Attribute> = form1(readAttribute, inVersion);
const filter1 = form1(readFilter, filterInVersion);

/** 1.x Attribute in Locate, where structures may be incomplete (KMIP 1.4, 4.9). */
export const attributeFilter1: ValueType<Attribute> = {
  ...filter1,
  encode: (tag, attribute, version) => {
    const item = filter1.encode(tag, attribute, version);
    if (item === undefined) throw unknown("an attribute of this vendor", version);
    return item;
  },
};

const wireTemplate = struct("Template-Attribute", {
  names: many("Name", name),
  attributes: many("Attribute", attribute1),
});

/** 1.x Template-Attribute, and its three variants (KMIP 1.4, 2.1.8). */
export const templateAttribute: ValueType<AttributeSet> = {
  itemType: ItemType.Structure,
  decode: (item, version) => {
    const { names, attributes: given } = wireTemplate.decode(item, version);
    return { attributes: given, templateNames: names.map(({ value }) => value) };
  },
  encode: (tag, { attributes: given, templateNames }, version) =>
    wireTemplate.encode(
      tag,
      {
        names: templateNames.map((value) => ({ value, type: "UninterpretedTextString" as const })),
        attributes: given,
      },
      version,
    ),
};

function decode2(item: Item, version: Version, read: Reader): readonly Attribute[] {
  if (item.type !== ItemType.Structure) {
    throw new KmipError("invalidMessage", "Attributes must be a structure");
  }
  return item.value.map((child) => {
    const row = attributeByTag(child.tag);
    if (row !== undefined && attributeVisible(child.tag, version)) {
      return { item: read(row, child, version) };
    }
    const tag = `tag 0x${child.tag.toString(16)}`;
    if (isKnownTag(child.tag, version)) throw unknown(tag, version);
    throw new KmipError("unknownTag", `${tag} is not known in KMIP ${version}`);
  });
}

function encode2(tag: number, given: readonly Attribute[], version: Version, write: Writer): Item {
  const items = given.flatMap(({ item }) => write(item, version) ?? []);
  return { tag, type: ItemType.Structure, value: items };
}

const form2 = (read: Reader, write: Writer): ValueType<readonly Attribute[]> => ({
  itemType: ItemType.Structure,
  decode: (item, version) => decode2(item, version, read),
  encode: (tag, given, version) => encode2(tag, given, version, write),
});

/** 2.x Attributes as a list (KMIP 2.1, 5.1). An attribute that the version lacks is not sent. */
export const attributes2: ValueType<readonly Attribute[]> = form2(readAttribute, inVersion);
/** 2.x Attributes in Locate, where structures may be incomplete (KMIP 2.1, 6.1.28). */
export const attributeFilters2: ValueType<readonly Attribute[]> = form2(
  readFilter,
  filterInVersion,
);

/** 2.x Attributes as an attribute set without templates. */
export const attributeSet2: ValueType<AttributeSet> = {
  itemType: ItemType.Structure,
  decode: (item, version) => ({ attributes: attributes2.decode(item, version), templateNames: [] }),
  encode: (tag, set, version) => attributes2.encode(tag, set.attributes, version),
};

/** A new object's attributes. Refuses what the version cannot express: the object would differ. */
const wholly = (form: ValueType<AttributeSet>): ValueType<AttributeSet> => ({
  ...form,
  encode: (tag, set, version) => {
    for (const { item } of set.attributes) requireSayable(item, version);
    return form.encode(tag, set, version);
  },
});

function requireSayable(item: Item, version: Version): void {
  const nameless =
    isVersion1(version) && item.tag === vendorTag && customName(vendorKeyOf(item)) === undefined;
  if (nameless) throw unknown("an attribute of this vendor", version);
  if (inVersion(item, version) !== undefined) return;
  const given = attributeByTag(item.tag)?.name ?? "an attribute";
  if (!attributeVisible(item.tag, version)) throw unknown(given, version);
  throw new KmipError("invalidAttribute", `KMIP ${version} cannot express this value of ${given}`);
}

/** 1.x Template-Attribute of a new object. */
export const newAttributes1 = wholly(templateAttribute);
/** 2.x Attributes of a new object. */
export const newAttributes2 = wholly(attributeSet2);

/** 2.x New Attribute or Current Attribute: a structure of one attribute (KMIP 2.1, 5.6 and 5.7). */
export const oneAttribute2: ValueType<Attribute> = {
  itemType: ItemType.Structure,
  decode: (item, version) => {
    const [attribute, ...more] = attributes2.decode(item, version);
    if (attribute !== undefined && more.length === 0) return attribute;
    throw new KmipError("invalidMessage", "one attribute must be given, and only one");
  },
  encode: (tag, attribute, version) => attributes2.encode(tag, [attribute], version),
};

/** 1.x Attribute Name. A name that the version does not know becomes a reference with tag 0. */
export const attributeName1: ValueType<AttributeReference> = {
  itemType: ItemType.TextString,
  decode: (item, version) => {
    const given = text.decode(item, version);
    const row = attributeByName(given);
    if (row === undefined || !attributeVisible(row.tag, version)) return { tag: 0, key: given };
    const key = row.tag === vendorTag ? `${given.slice(0, 1)}\0${given.slice(2)}` : "";
    return { tag: row.tag, key };
  },
  encode: (tag, { tag: attribute, key }, version) => {
    if (attribute === 0) return text.encode(tag, key, version);
    const given = attributeVisible(attribute, version) ? nameOf(attribute, key) : undefined;
    return given === undefined ? undefined : text.encode(tag, given, version);
  },
};

/** 2.x Attribute Reference: an enumeration (the tag) or vendor identification and name (KMIP 2.1, 5.5). */
export const attributeReference2: ValueType<AttributeReference> = {
  itemType: "any",
  decode: (item, version) => {
    if (item.type === ItemType.Structure) {
      const { vendorIdentification, name: given } = vendorReference.decode(item, version);
      return { tag: vendorTag, key: `${vendorIdentification}\0${given}` };
    }
    if (item.type !== ItemType.Enumeration) {
      throw new KmipError("invalidMessage", "Attribute Reference must be a tag or a structure");
    }
    if (item.value === vendorTag || !attributeVisible(item.value, version)) {
      throw unknown(`tag 0x${item.value.toString(16)}`, version);
    }
    return { tag: item.value, key: "" };
  },
  encode: (tag, { tag: attribute, key }, version) => {
    if (!attributeVisible(attribute, version)) return undefined;
    if (attribute !== vendorTag) return { tag, type: ItemType.Enumeration, value: attribute };
    const at = key.indexOf("\0");
    const reference = { vendorIdentification: key.slice(0, at), name: key.slice(at + 1) };
    return vendorReference.encode(tag, reference, version);
  },
};

/** A reference in a request. Refuses what the version cannot express: the request would differ. */
const asked = (form: ValueType<AttributeReference>): ValueType<AttributeReference> => ({
  ...form,
  encode: (tag, reference, version) => {
    const item = form.encode(tag, reference, version);
    if (item !== undefined) return item;
    throw unknown(attributeByTag(reference.tag)?.name ?? "the attribute", version);
  },
});

/** 1.x Attribute Name in a request. */
export const askedName1 = asked(attributeName1);
/** 2.x Attribute Reference in a request. */
export const askedReference2 = asked(attributeReference2);
