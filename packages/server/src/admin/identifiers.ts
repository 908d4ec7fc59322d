import { randomInt } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { Refused } from "./problem.ts";

/** Characters of one identifier at most. */
export const identifierLengthMax = 64;
/** Identifiers of one list at most. */
export const identifiersMax = 1_000_000;

/** Bytes that are read in one turn. */
const sliceBytes = 16_384;
const slotsMin = 1024;
/** Slots that are filled at most, of those that there are. */
const loadMax = 0.7;

/**
 * A set of identifiers, compared without case. It keeps a hash of 53 bits of each outside of the heap, so that a million
 * of them cost neither long collections nor a long copy: a `Set` of them takes 150 MB in place of 30, and holds other work
 * up for 40 ms where it grows. One that was never added is taken for one of a million with a
 * chance of 1 to 10^10: a key is then held for used.
 */
export class Identifiers {
  readonly #slots: Float64Array;
  /** Nobody can choose identifiers that all belong to one slot. */
  readonly #seed = randomInt(2 ** 32);
  #given = 0;

  /** `most`: how many may be added. */
  constructor(most: number) {
    let slots = slotsMin;
    while (slots * loadMax < most) slots *= 2;
    this.#slots = new Float64Array(slots);
  }

  static of(all: readonly string[]): Identifiers {
    const identifiers = new Identifiers(all.length);
    for (const one of all) identifiers.add(one);
    return identifiers;
  }

  /** How many were added, repetitions included. */
  get given(): number {
    return this.#given;
  }

  add(identifier: string): void {
    this.#given += 1;
    const hash = hashOf(identifier, this.#seed);
    this.#slots[this.#slotOf(hash)] = hash;
  }

  has(identifier: string): boolean {
    return this.#slots[this.#slotOf(hashOf(identifier, this.#seed))] !== 0;
  }

  /** The slot of a hash, or the empty one where it belongs. */
  #slotOf(hash: number): number {
    const slots = this.#slots;
    let at = hash % slots.length;
    while (slots[at] !== 0 && slots[at] !== hash) at = at + 1 === slots.length ? 0 : at + 1;
    return at;
  }
}

/** 53 bits, never 0 (cyrb53). */
function hashOf(identifier: string, seed: number): number {
  const text = identifier.toLowerCase();
  let one = 0xdeadbeef ^ seed;
  let two = 0x41c6ce57 ^ seed;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    one = Math.imul(one ^ code, 2_654_435_761);
    two = Math.imul(two ^ code, 1_597_334_677);
  }
  one = Math.imul(one ^ (one >>> 16), 2_246_822_507) ^ Math.imul(two ^ (two >>> 13), 3_266_489_909);
  two = Math.imul(two ^ (two >>> 16), 2_246_822_507) ^ Math.imul(one ^ (one >>> 13), 3_266_489_909);
  return 4_294_967_296 * (2_097_151 & two) + (one >>> 0) || 1;
}

/** An element without escapes, as almost all are, and one with them. */
const plain = /\s*"([^"\\\p{Cc}]*)"\s*([,\]])/uy;
const opening = /^\s*\{\s*"inUse"\s*:\s*\[/;
const element = /\s*(?:"((?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"\s*([,\]])|\])/uy;
const closing = /^\s*\}\s*$/;
/** Text that may wait for its end: an identifier with every character escaped, and some space. */
const restMax = 4 * 6 * identifierLengthMax;

/**
 * Reads `{"inUse": ["…", …]}` piece by piece, so that however many identifiers come, other work waits for one piece
 * only. Throws a `Refused` that names the place where the body is anything else.
 */
export async function readIdentifiers(
  body: AsyncIterable<Buffer>,
  bytesMax: number,
): Promise<Identifiers> {
  const reader = new IdentifierReader();
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > bytesMax) throw new Refused({ code: "tooLarge", detail: "the body is too large" });
    for (let at = 0; at < piece.length; at += sliceBytes) {
      const slice = piece.subarray(at, at + sliceBytes);
      reader.take(decoded(() => decoder.decode(slice, { stream: true })));
      await setImmediate();
    }
  }
  reader.take(decoded(() => decoder.decode()));
  return reader.end();
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function decoded(decode: () => string): string {
  try {
    return decode();
  } catch {
    throw invalid("body", "must be JSON in UTF-8");
  }
}

/** What a body was read into: the listener gives its identifiers, a caller without it the list itself. */
export function identifiersIn({ inUse }: { readonly inUse: unknown }): Identifiers {
  return inUse instanceof Identifiers ? inUse : Identifiers.of(inUse as readonly string[]);
}

/** Where in the body it reads. */
class IdentifierReader {
  readonly #found = new Identifiers(identifiersMax);
  #state: "opening" | "list" | "closing" = "opening";
  #rest = "";
  /** After a comma another identifier must come. */
  #more = false;

  take(text: string): void {
    this.#rest += text;
    if (this.#state === "opening") this.#open();
    if (this.#state === "list") this.#list();
    if (this.#rest.length > restMax) throw this.#wrong();
  }

  end(): Identifiers {
    if (this.#state !== "closing" || !closing.test(this.#rest)) throw this.#wrong();
    if (this.#found.given === 0) {
      throw invalid("body.inUse", "is empty: every key would be an orphan");
    }
    return this.#found;
  }

  #open(): void {
    const match = opening.exec(this.#rest);
    if (match === null) return;
    this.#rest = this.#rest.slice(match[0].length);
    this.#state = "list";
  }

  #list(): void {
    let at = 0;
    while (this.#state === "list") {
      const match = matchAt(plain, this.#rest, at) ?? matchAt(element, this.#rest, at);
      if (match === null) break;
      at += match[0].length;
      const [, escaped, next] = match;
      if (escaped === undefined) {
        if (this.#more) throw this.#wrong();
        this.#state = "closing";
        break;
      }
      this.#add(escaped.includes("\\") ? (JSON.parse(`"${escaped}"`) as string) : escaped);
      this.#more = next === ",";
      if (next === "]") this.#state = "closing";
    }
    this.#rest = this.#rest.slice(at);
  }

  #add(identifier: string): void {
    const { given } = this.#found;
    if (identifier === "" || identifier.length > identifierLengthMax) {
      throw invalid(`body.inUse[${given}]`, `must have 1 to ${identifierLengthMax} characters`);
    }
    if (given >= identifiersMax) {
      throw invalid("body.inUse", `has more than ${identifiersMax} identifiers`);
    }
    this.#found.add(identifier);
  }

  #wrong(): Refused {
    if (this.#state === "list") {
      return invalid(`body.inUse[${this.#found.given}]`, "must be a text in quotes");
    }
    return invalid("body", 'must be JSON of the form {"inUse": ["…", …]}');
  }
}

function invalid(at: string, says: string): Refused {
  const errors = [{ at, says }];
  return new Refused({ code: "invalid", detail: `${at}: ${says}`, extra: { errors } });
}
