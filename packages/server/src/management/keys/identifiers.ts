import { randomBytes } from "node:crypto";

/** Characters of one identifier at most. */
export const identifierLengthMax = 64;
/** Identifiers of one list at most. */
export const identifiersMax = 1_000_000;

const slotsMin = 1024;
/** The largest share of the slots that may be filled. */
const loadMax = 0.7;

/**
 * A set of identifiers, compared without case. It keeps a hash of 53 bits of each outside of the heap, so that a
 * million of them cost neither long collections nor a long copy: a `Set` of them takes 150 MB in place of 30, and holds
 * other work up for 40 ms where it grows. Among a million, one that was never added is found with a chance of 1 to
 * 10^10: a key then counts as used.
 */
export class Identifiers {
  readonly #slots: Float64Array;
  /** So that nobody can choose identifiers that all belong to one slot. */
  readonly #seed = randomBytes(4).readUInt32LE();
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

/** The identifiers of a body: the listener has read them into a set; a caller without it gives the list. */
export function identifiersIn({ inUse }: { readonly inUse: unknown }): Identifiers {
  return inUse instanceof Identifiers ? inUse : Identifiers.of(inUse as readonly string[]);
}
