import { randomUUID } from "node:crypto";
import { fromXml, toXml, XmlError } from "@holdfast/kmip";
import { decode, encode } from "@holdfast/ttlv";
import { KmipSocket, type KmipTarget } from "../support/kmip-socket.ts";
import { Bindings } from "./bindings.ts";
import { Comparer, type Comparison, type Difference, dateKey } from "./compare.ts";
import type { CorpusFile, Exchange } from "./corpus.ts";
import {
  child,
  childrenOf,
  collapse,
  type Element,
  mapValues,
  parseElement,
  walk,
  writeElement,
} from "./element.ts";

const making = new Set(["Create", "CreateKeyPair", "ReKey", "ReKeyKeyPair", "DeriveKey"]);

/** The state of one file's replay. */
class Replay {
  readonly #file: CorpusFile;
  readonly #socket: KmipSocket;
  readonly #bindings = new Bindings(randomUUID);
  readonly #serverMade: Set<string>;
  readonly #datesSent = new Set<string>();

  constructor(file: CorpusFile, socket: KmipSocket, serverMade: Set<string>) {
    this.#file = file;
    this.#socket = socket;
    this.#serverMade = serverMade;
  }

  async exchange(one: Exchange): Promise<Difference | undefined> {
    const nowMs = Date.now();
    const request = this.#bindings.substitute(withPlainNames(one.request), nowMs);
    this.#noteDates(request);
    const sent = encode(fromXml(writeElement(request)));
    const answer = parseElement(toXml(decode(await this.#socket.exchange(sent))));
    this.#noteMade(answer);
    const found =
      one.response === undefined ? undefined : this.#compare(one.response, answer, request, nowMs);
    this.#bindings.remember(answer);
    return found;
  }

  #compare(
    expected: Element,
    answer: Element,
    request: Element,
    nowMs: number,
  ): Difference | undefined {
    const comparison: Comparison = {
      bindings: this.#bindings,
      nowMs,
      version: this.#file.version,
      family: this.#file.family,
      request,
      datesSent: this.#datesSent,
      serverMade: this.#serverMade,
    };
    return new Comparer(comparison).response(canonical(expected), answer);
  }

  #noteDates(request: Element): void {
    for (const element of walk(request)) {
      if (element.type === "DateTime" && element.value !== undefined) {
        this.#datesSent.add(dateKey(element.value));
      }
    }
  }

  #noteMade(answer: Element): void {
    for (const item of childrenOf(answer, "BatchItem")) {
      if (!making.has(child(item, "Operation")?.value ?? "")) continue;
      for (const element of walk(item)) {
        if (element.name.endsWith("UniqueIdentifier") && element.value !== undefined) {
          this.#serverMade.add(element.value);
        }
      }
    }
  }
}

/** Removes runs of spaces from attribute names, as older documents print them. */
function withPlainNames(message: Element): Element {
  return mapValues(message, (text, element) =>
    element.name === "AttributeName" || element.type === "Integer" ? collapse(text) : text,
  );
}

/**
 * The document's answer in the form of our own XML writer, so that both sides are written alike: placeholders stay as
 * they are, and every other scalar goes through the codec.
 */
export function canonical(expected: Element): Element {
  return withPlainNames(expected).children.length === 0
    ? expected
    : {
        ...expected,
        children: siblings(expected.children),
      };
}

function siblings(children: readonly Element[]): readonly Element[] {
  const name = children.find((one) => one.name === "AttributeName");
  return children.map((one) => (one.type === "Structure" ? canonical(one) : scalar(one, name)));
}

function scalar(element: Element, attributeName: Element | undefined): Element {
  if (element.value?.startsWith("$") === true) return element;
  // The Attribute Name next to it decides how an Attribute Value is read.
  const inside = attributeName === undefined ? [element] : [attributeName, element];
  const around: Element = {
    name: "Attribute",
    type: "Structure",
    value: undefined,
    tag: undefined,
    children: inside.map((one) => ({ ...one, value: plain(one) })),
  };
  try {
    const written = parseElement(toXml(fromXml(writeElement(around))));
    return written.children.at(-1) ?? element;
  } catch (error) {
    // Some values are in no table (PKCS#11 functions): they are compared as printed.
    if (error instanceof XmlError) return element;
    throw error;
  }
}

function plain(element: Element): string | undefined {
  const collapses = element.name === "AttributeName" || element.type === "Integer";
  return element.value === undefined || !collapses ? element.value : collapse(element.value);
}

/**
 * Replays one file on its own connection; returns the first difference as a line, or undefined. `serverMade`
 * collects what the server made in the files of one instance.
 */
export async function replay(
  file: CorpusFile,
  target: KmipTarget,
  serverMade: Set<string>,
): Promise<string | undefined> {
  await using socket = await KmipSocket.open(target);
  const run = new Replay(file, socket, serverMade);
  for (const [at, exchange] of file.exchanges.entries()) {
    try {
      const found = await run.exchange(exchange);
      if (found !== undefined) return `exchange ${at + 1}: ${found.path} ${found.message}`;
    } catch (error) {
      return `exchange ${at + 1}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return undefined;
}
