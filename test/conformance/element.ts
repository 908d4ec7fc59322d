import { parseXml, XmlElement } from "@rgrove/parse-xml";

/** One TTLV item in the form of KMIP XML (KMIP Additional Message Encodings 1.0, 4). */
export interface Element {
  readonly name: string;
  /** Item type; "Structure" if the XML names none. */
  readonly type: string;
  /** The text of a scalar; undefined for a structure. */
  readonly value: string | undefined;
  /** The hexadecimal tag of an item outside the tables. */
  readonly tag: string | undefined;
  readonly children: readonly Element[];
}

/** Replaces runs of white space, meaningless in older documents' names, masks and messages. */
export function collapse(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

function fromParsed(element: XmlElement): Element {
  const children = element.children
    .filter((child) => child instanceof XmlElement)
    .map((child) => fromParsed(child));
  return {
    name: element.name,
    type: element.attributes["type"] ?? "Structure",
    value: element.attributes["value"],
    tag: element.attributes["tag"],
    children,
  };
}

/** The element tree of one XML document. Comments and text between elements are ignored. */
export function parseElement(xml: string): Element {
  const root = parseXml(xml).root;
  if (root === null) throw new Error("the document has no element");
  return fromParsed(root);
}

function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll('"', "&quot;")
    .replaceAll("\n", "&#10;")
    .replaceAll("\t", "&#9;")
    .replaceAll("\r", "&#13;");
}

/** Writes an element tree as KMIP XML. */
export function writeElement(element: Element): string {
  const tag = element.tag === undefined ? "" : ` tag="${escaped(element.tag)}"`;
  if (element.type === "Structure") {
    const inside = element.children.map(writeElement).join("");
    return `<${element.name}${tag}>${inside}</${element.name}>`;
  }
  const type = ` type="${escaped(element.type)}"`;
  return `<${element.name}${tag}${type} value="${escaped(element.value ?? "")}"/>`;
}

/** The first child with a name. */
export function child(element: Element | undefined, name: string): Element | undefined {
  return element?.children.find((one) => one.name === name);
}

/** All children with a name. */
export function childrenOf(element: Element | undefined, name: string): readonly Element[] {
  return element?.children.filter((one) => one.name === name) ?? [];
}

/** Every element of a tree, parents first. */
export function* walk(element: Element): Generator<Element> {
  yield element;
  for (const one of element.children) yield* walk(one);
}

/** The tree with every scalar's text mapped. */
export function mapValues(
  element: Element,
  map: (value: string, element: Element) => string,
): Element {
  return {
    ...element,
    value: element.value === undefined ? undefined : map(element.value, element),
    children: element.children.map((one) => mapValues(one, map)),
  };
}
