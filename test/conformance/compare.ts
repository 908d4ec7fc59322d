import { Bindings, nowSeconds, nowToleranceSeconds } from "./bindings.ts";
import { demanded } from "./demands.ts";
import { child, childrenOf, collapse, type Element, walk } from "./element.ts";

/** A difference between an answer and the document. */
export interface Difference {
  readonly path: string;
  readonly message: string;
}

/** What a comparison needs besides the two answers. */
export interface Comparison {
  readonly bindings: Bindings;
  readonly nowMs: number;
  readonly version: string;
  readonly family: string | undefined;
  readonly request: Element;
  /** Dates, as `name value`, that a request of the file set. */
  readonly datesSent: ReadonlySet<string>;
  /** Identifiers of objects that the server made: their material and digests are its own. */
  readonly serverMade: ReadonlySet<string>;
}

/** Values that a server chooses (KMIP Profiles 2.1, 4.1). */
const freeValues = new Set([
  "TimeStamp",
  "ServerCorrelationValue",
  "ClientCorrelationValue",
  "AsynchronousCorrelationValue",
  "ResultMessage",
  "VendorIdentification in Query",
]);

/** Items that are optional. */
const freePresence = new Set([
  "ServerCorrelationValue",
  "ClientCorrelationValue",
  "ResultMessage",
  "LocatedItems",
  "ApplicationNamespace in Query",
  "ExtensionInformation in Query",
  "MessageExtension",
]);

/** Attributes that a server sets by its own policy. */
const freeAttributes = new Set(["Object Group", "ObjectGroup"]);

const material = new Set(["KeyMaterial", "Key", "DigestValue"]);

function difference(path: string, message: string): Difference {
  return { path, message };
}

function show(element: Element): string {
  return element.value ?? "a structure";
}

function isSecondsDate(text: string): boolean {
  return !Number.isNaN(Date.parse(text));
}

/** One comparison of one answer of one exchange. */
export class Comparer {
  readonly #context: Comparison;
  #operation = "";
  #serverMade = false;
  #asked: Element | undefined;

  constructor(context: Comparison) {
    this.#context = context;
  }

  /** The first difference between the document's answer and the server's, if any. */
  response(expected: Element, actual: Element): Difference | undefined {
    const header = this.#structure(
      child(expected, "ResponseHeader"),
      child(actual, "ResponseHeader"),
      "ResponseHeader",
    );
    if (header !== undefined) return header;
    const wanted = childrenOf(expected, "BatchItem");
    const got = childrenOf(actual, "BatchItem");
    if (wanted.length !== got.length) {
      return difference("BatchItem", `${got.length} items instead of ${wanted.length}`);
    }
    for (const [at, item] of wanted.entries()) {
      const found = this.#batchItem(item, got[at], at);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #batchItem(expected: Element, actual: Element | undefined, at: number): Difference | undefined {
    this.#asked = childrenOf(this.#context.request, "BatchItem")[at];
    this.#operation =
      child(expected, "Operation")?.value ?? child(this.#asked, "Operation")?.value ?? "";
    const identifier = child(child(actual, "ResponsePayload"), "UniqueIdentifier")?.value;
    this.#serverMade = identifier !== undefined && this.#context.serverMade.has(identifier);
    return this.#structure(expected, actual, `BatchItem[${at}]`);
  }

  #local(name: string): readonly string[] {
    return [name, `${name} in ${this.#operation}`];
  }

  #is(set: ReadonlySet<string>, name: string): boolean {
    return this.#local(name).some((one) => set.has(one));
  }

  #structure(
    expected: Element | undefined,
    actual: Element | undefined,
    path: string,
  ): Difference | undefined {
    if (expected === undefined) return undefined;
    if (actual === undefined) return difference(path, "is missing");
    if (expected.name === "ServerInformation") return undefined;
    if (expected.name === "RandomNumberGenerator") return undefined;
    if (expected.name === "Attributes") return this.#attributes(expected, actual, path);
    const names = new Set([...expected.children, ...actual.children].map((one) => one.name));
    for (const name of names) {
      const found = this.#named(expected, actual, name, path);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Compares all children of one name on both sides, in order. */
  #named(expected: Element, actual: Element, name: string, path: string): Difference | undefined {
    const wanted = childrenOf(expected, name);
    const got = childrenOf(actual, name);
    const here = `${path}/${name}`;
    if (expected.name === "ResponsePayload") {
      const special = this.#payloadList(name, wanted, got, here);
      if (special !== "ordinary") return special;
    }
    if (wanted.length !== got.length) {
      const free = this.#is(freePresence, name) || this.#freeTemplate(name);
      return free ? undefined : difference(here, `${got.length} of them, not ${wanted.length}`);
    }
    for (const [at, one] of wanted.entries()) {
      const other = got[at];
      const found = this.#element(
        one,
        other as Element,
        wanted.length > 1 ? `${here}[${at}]` : here,
      );
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** In 1.x an answer may leave out the Template-Attribute. */
  #freeTemplate(name: string): boolean {
    return this.#context.version.startsWith("1.") && name === "TemplateAttribute";
  }

  #payloadList(
    name: string,
    wanted: readonly Element[],
    got: readonly Element[],
    path: string,
  ): Difference | undefined | "ordinary" {
    if (name === "Attribute") return this.#attributeSet(wanted, got, path);
    if (name === "AttributeName" || name === "AttributeReference") {
      return this.#subset(wanted, got, path);
    }
    if (this.#operation === "Query") return this.#queryList(name, wanted, got, path);
    if (this.#operation === "DiscoverVersions" && name === "ProtocolVersion") {
      const asked = [...walk(this.#context.request)].filter((one) => one.name === name).length;
      return asked > 1 ? "ordinary" : this.#subset(wanted, got, path);
    }
    return "ordinary";
  }

  #queryList(
    name: string,
    wanted: readonly Element[],
    got: readonly Element[],
    path: string,
  ): Difference | undefined | "ordinary" {
    if (name !== "Operation" && name !== "ObjectType") return "ordinary";
    const demand = demanded(this.#context.family, this.#context.version);
    const must = wanted.filter((one) => demand?.has(one.value ?? "") === true);
    return this.#subset(must, got, path);
  }

  /** Compares lists where every wanted element must be among the others, in any order. */
  #subset(
    wanted: readonly Element[],
    got: readonly Element[],
    path: string,
  ): Difference | undefined {
    const missing = wanted.find(
      (one) =>
        !freeAttributes.has(collapse(one.value ?? "")) &&
        !got.some((other) => this.#element(one, other, path) === undefined),
    );
    return missing === undefined
      ? undefined
      : difference(path, `${this.#label(missing)} is missing`);
  }

  #label(element: Element): string {
    return element.value ?? element.children.map((one) => this.#label(one)).join(" ");
  }

  #attributes(expected: Element, actual: Element, path: string): Difference | undefined {
    return this.#attributeSet(expected.children, actual.children, path);
  }

  /** Compares attributes in any order; more of them are allowed unless the request named some. */
  #attributeSet(
    wanted: readonly Element[],
    got: readonly Element[],
    path: string,
  ): Difference | undefined {
    const left = [...got];
    for (const one of wanted) {
      const key = attributeKey(one);
      const candidates = left.filter((other) => attributeKey(other) === key);
      const match = candidates.find((other) => this.#attribute(one, other, path) === undefined);
      if (match === undefined) {
        const [first] = candidates;
        if (first === undefined) return difference(`${path}/${key}`, "is missing");
        return this.#attribute(one, first, `${path}/${key}`);
      }
      left.splice(left.indexOf(match), 1);
    }
    return this.#unasked(left, path);
  }

  #unasked(left: readonly Element[], path: string): Difference | undefined {
    if (this.#operation !== "GetAttributes") return undefined;
    if (this.#asked === undefined) return undefined;
    const asked = new Set([...walk(this.#asked)].flatMap((one) => referenceKey(one) ?? []));
    if (asked.size === 0) return undefined;
    const extra = left.find((one) => !asked.has(attributeKey(one)));
    return extra === undefined
      ? undefined
      : difference(`${path}/${attributeKey(extra)}`, "was not asked for");
  }

  #attribute(expected: Element, actual: Element, path: string): Difference | undefined {
    const name = attributeKey(expected);
    if (name === "Random Number Generator" || name === "RandomNumberGenerator") return undefined;
    if (name === "Digest" && this.#serverMade) {
      const sha256 = [...walk(actual)].some((one) => one.value === "SHA_256");
      return sha256 ? undefined : difference(path, "is not a SHA-256 digest");
    }
    return this.#element(withoutIndexZero(expected), withoutIndexZero(actual), path);
  }

  #element(expected: Element, actual: Element, path: string): Difference | undefined {
    if (expected.type === "Structure" && actual.type === "Structure") {
      return this.#structure(expected, actual, path);
    }
    if (expected.type !== actual.type) {
      return difference(path, `is ${actual.type}, not ${expected.type}`);
    }
    return this.#scalar(expected, actual, path);
  }

  #scalar(expected: Element, actual: Element, path: string): Difference | undefined {
    const wanted = expected.value ?? "";
    const got = actual.value ?? "";
    if (this.#is(freeValues, expected.name)) return undefined;
    const name = Bindings.nameOf(wanted);
    if (name !== undefined) return this.#bound(name, got, path);
    if (expected.type === "DateTime" || expected.type === "DateTimeExtended") {
      return this.#date(expected, got, path);
    }
    if (expected.name === "UniqueIdentifier") return this.#literalIdentifier(got, path);
    if (this.#serverMade && material.has(expected.name)) {
      return wanted.length === got.length
        ? undefined
        : difference(path, `has ${got.length / 2} bytes, not ${wanted.length / 2}`);
    }
    return collapse(wanted) === collapse(got)
      ? undefined
      : difference(path, `is ${show(actual)}, not ${show(expected)}`);
  }

  /** Compares an identifier that the document prints: the requested one, or the server's own. */
  #literalIdentifier(got: string, path: string): Difference | undefined {
    const asked = child(child(this.#asked, "RequestPayload"), "UniqueIdentifier")?.value;
    return asked === undefined || asked === got
      ? undefined
      : difference(path, `is ${got}, not ${asked} that was asked for`);
  }

  #bound(name: string, got: string, path: string): Difference | undefined {
    const bound = this.#context.bindings.get(name);
    if (bound === undefined) {
      this.#context.bindings.bind(name, got);
      return undefined;
    }
    return bound === got ? undefined : difference(path, `is ${got}, not $${name} (${bound})`);
  }

  #date(expected: Element, got: string, path: string): Difference | undefined {
    const wanted = expected.value ?? "";
    const seconds = nowSeconds(wanted, this.#context.nowMs);
    const actual = Date.parse(got) / 1000;
    if (seconds !== undefined) {
      const off = Math.abs(actual - seconds);
      return off <= nowToleranceSeconds
        ? undefined
        : difference(path, `is ${off} s from ${wanted}`);
    }
    if (!isSecondsDate(got)) return difference(path, "is not a date");
    const fixed = this.#context.datesSent.has(dateKey(wanted));
    return !fixed || actual === Date.parse(wanted) / 1000
      ? undefined
      : difference(path, `is ${got}, not ${wanted}`);
  }
}

/** A date in a form that is the same for all time zones. */
export function dateKey(text: string): string {
  return String(Date.parse(text));
}

/** The name that identifies an attribute: `Cryptographic Length`, `x ID`, `CryptographicLength`. */
function attributeKey(element: Element): string {
  if (element.name !== "Attribute") return element.name;
  const vendor = child(element, "VendorIdentification")?.value;
  const name = collapse(child(element, "AttributeName")?.value ?? "");
  return vendor === undefined ? name : `${vendor} ${name}`;
}

/** The attribute that an element of a request asks for. */
function referenceKey(element: Element): string | undefined {
  if (element.name === "AttributeName" && element.value !== undefined) {
    return collapse(element.value);
  }
  if (element.name !== "AttributeReference") return undefined;
  if (element.value !== undefined) return element.value;
  const vendor = child(element, "VendorIdentification")?.value ?? "";
  return `${vendor} ${collapse(child(element, "AttributeName")?.value ?? "")}`;
}

function withoutIndexZero(element: Element): Element {
  const children = element.children.filter(
    (one) => one.name !== "AttributeIndex" || Number(one.value) !== 0,
  );
  return children.length === element.children.length ? element : { ...element, children };
}
