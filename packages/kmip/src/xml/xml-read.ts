import { type Item, ItemType } from "@holdfast/ttlv";
import { XmlError as MalformedXml, parseXml, XmlElement, XmlText } from "@rgrove/parse-xml";
import { type TagName, tags } from "../schema/tags.ts";
import { type Sibling, valueTag } from "./xml-context.ts";
import { XmlError } from "./xml-error.ts";
import {
  fromBigHex,
  fromDateTime,
  fromDateTimeExtended,
  fromEnumeration,
  fromHex,
  fromInteger,
  fromNumber,
  itemTypes,
} from "./xml-values.ts";

/** Limits of a text to read. */
export interface XmlLimits {
  readonly charactersMax: number;
  readonly depthMax: number;
}

const defaultLimits: XmlLimits = { charactersMax: 4 << 20, depthMax: 32 };

/** Makes the error for an element, with its line. */
type Fail = (what: string, element: XmlElement) => XmlError;

function parse(xml: string): XmlElement {
  try {
    const document = parseXml(xml, { includeOffsets: true, preserveDocumentType: true });
    const { root } = document;
    if (document.children.some(({ type }) => type === "doctype")) {
      throw new XmlError("a document type declaration is not allowed", 1);
    }
    if (root !== null) return root;
    throw new XmlError("no element found", 1);
  } catch (error) {
    // The parser's message continues with a part of the text, which may be a secret.
    if (error instanceof MalformedXml) {
      throw new XmlError(error.message.split(" (line ")[0] ?? "not XML", error.line);
    }
    // The parser recurses, so only the stack limits its depth.
    if (error instanceof RangeError) throw new XmlError("elements nest too deeply", 1);
    throw error;
  }
}

function tagOf(element: XmlElement): number | undefined {
  const { name } = element;
  if (name !== "TTLV") return Object.hasOwn(tags, name) ? tags[name as TagName].tag : undefined;
  const tag = fromNumber(element.attributes["tag"] ?? "", 24, false);
  return tag === undefined ? undefined : Number(tag);
}

function scalar(type: ItemType, text: string, kind: number): Item["value"] | undefined {
  switch (type) {
    case ItemType.Integer:
      return fromInteger(text, kind);
    case ItemType.LongInteger:
      return fromNumber(text, 64, true);
    case ItemType.BigInteger:
      return fromBigHex(text);
    case ItemType.Enumeration:
      return fromEnumeration(text, kind);
    case ItemType.Boolean:
      return text === "true" ? true : text === "false" ? false : undefined;
    case ItemType.TextString:
      return text;
    case ItemType.ByteString:
      return fromHex(text);
    case ItemType.DateTime:
      return fromDateTime(text);
    case ItemType.DateTimeExtended:
      return fromDateTimeExtended(text);
    case ItemType.Interval: {
      const seconds = fromNumber(text, 32, false);
      return seconds === undefined ? undefined : Number(seconds);
    }
    case ItemType.Structure:
      return undefined;
  }
}

const attributesKnown: ReadonlySet<string> = new Set(["type", "value", "tag", "name"]);

function childrenOf(element: XmlElement, fail: Fail): readonly XmlElement[] {
  return element.children.filter((child): child is XmlElement => {
    if (child instanceof XmlText && child.text.trim() !== "") {
      throw fail("unexpected text between the elements", element);
    }
    return child instanceof XmlElement;
  });
}

interface Reading {
  readonly fail: Fail;
  /** How many more levels of structures are allowed. */
  readonly depth: number;
}

function readStructure(
  tag: number,
  element: XmlElement,
  children: readonly XmlElement[],
  { fail, depth }: Reading,
): Item {
  if (element.attributes["value"] !== undefined) {
    throw fail(`${element.name} has a value but no type`, element);
  }
  if (depth === 0) throw fail("elements nest too deeply", element);
  const siblings = children.map(
    (child): Sibling => ({ tag: tagOf(child) ?? 0, text: child.attributes["value"] }),
  );
  const inner = { fail, depth: depth - 1 };
  const value = children.map((child, at) =>
    read(child, valueTag(siblings[at]?.tag ?? 0, siblings), inner),
  );
  return { tag, type: ItemType.Structure, value };
}

function typeOf(element: XmlElement, fail: Fail): ItemType {
  const strange = Object.keys(element.attributes).find((name) => !attributesKnown.has(name));
  if (strange !== undefined) throw fail(`${element.name} has an attribute ${strange}`, element);
  const type = itemTypes.get(element.attributes["type"] ?? "Structure");
  if (type === undefined) throw fail(`${element.name} has an unknown type`, element);
  return type;
}

/** `kind` is the tag that determines the enumeration or mask of a value. */
function read(element: XmlElement, kind: number, reading: Reading): Item {
  const { fail } = reading;
  const tag = tagOf(element);
  if (tag === undefined) throw fail(`${element.name} is not the name of a tag`, element);
  const type = typeOf(element, fail);
  const children = childrenOf(element, fail);
  if (type === ItemType.Structure) return readStructure(tag, element, children, reading);
  if (children.length > 0) throw fail(`${element.name} is not a structure`, element);
  const text = element.attributes["value"];
  const value = text === undefined ? undefined : scalar(type, text, kind);
  if (value === undefined) throw fail(`${element.name} has no value of its type`, element);
  return { tag, type, value } as Item;
}

/**
 * Reads the item in a KMIP XML text (KMIP Additional Message Encodings 1.0, 4), with the names of
 * all versions. Throws only an `XmlError`, also for a document type declaration or an entity that
 * XML does not define.
 */
export function fromXml(xml: string, limits: XmlLimits = defaultLimits): Item {
  if (xml.length > limits.charactersMax) {
    throw new XmlError(`more than ${limits.charactersMax} characters`, 1);
  }
  const fail: Fail = (what, element) =>
    new XmlError(what, xml.slice(0, Math.max(0, element.start)).split("\n").length);
  const root = parse(xml);
  return read(root, tagOf(root) ?? 0, { fail, depth: limits.depthMax });
}
