import {
  type ChainPoint,
  chainGap,
  chainHash,
  chainStart,
  checkpointEvery,
} from "@holdfast/engine";
import { sameHash } from "@holdfast/regions";
import { type Findings, partitionName, rangeText } from "./findings.ts";
import type { ShippedLine } from "./shipped-line.ts";

/** Entries that the store gave up, as an `audit.drop` event reports. */
export interface GivenUp {
  readonly store: string;
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

interface Known {
  readonly hash: Uint8Array;
  /** Covers the hash and the entry: each line of a number has both. */
  readonly both: Uint8Array;
  /** Which of its events were seen, one bit each. */
  parts: number;
  readonly partsWanted: number;
}

/** The last line of a partition in a file, and the numbers seen there. */
interface Place {
  number: number;
  part: number;
  readonly seen: Set<number>;
}

/** One partition's events in files of one or several nodes, each at least once. */
export class ShippedTrail {
  readonly #store: string;
  readonly #partition: number;
  readonly #findings: Findings;
  readonly #known = new Map<number, Known>();
  /** Lines whose predecessor has not been seen yet: another node's file may have it. */
  readonly #waiting = new Map<number, ShippedLine>();
  readonly #places = new Map<string, Place>();
  /** By the number of the entry that tells it. */
  readonly #givenUp = new Map<number, GivenUp>();
  last = 0;

  constructor(store: string, partition: number, findings: Findings) {
    this.#store = store;
    this.#partition = partition;
    this.#findings = findings;
  }

  take(line: ShippedLine, where: string, file: string): void {
    this.#order(line, where, file);
    const { number, hash, entry, part, content } = line;
    const both = chainHash(hash, number, entry);
    const known = this.#known.get(number);
    if (known === undefined) {
      const partsWanted = content.events.length;
      this.#known.set(number, { hash, both, parts: 1 << part, partsWanted });
      this.last = Math.max(this.last, number);
      if (!this.#link(line)) this.#waiting.set(number, line);
      const next = this.#waiting.get(number + 1);
      if (next !== undefined && this.#link(next)) this.#waiting.delete(number + 1);
    } else {
      known.parts |= 1 << part;
      if (!sameHash(known.both, both))
        this.#report(`${where}: number ${number}: occurs twice, and differs`);
    }
    this.#noteGivenUp(line);
  }

  /** Numbers at which the store may keep chain points. */
  checkpoints(): readonly number[] {
    return [...this.#known.keys()].filter((number) => number % checkpointEvery === 0);
  }

  /** What entries tell that follow from the one before: of another one, only the hash is sure. */
  givenUp(): readonly GivenUp[] {
    const told = [...this.#givenUp].filter(([number]) => !this.#waiting.has(number));
    return told.map(([, givenUp]) => givenUp);
  }

  hashAt(number: number): Uint8Array | undefined {
    return this.#known.get(number)?.hash;
  }

  /** Reports what is missing; returns notes. */
  end(givenUp: readonly GivenUp[]): readonly string[] {
    const notes: string[] = [];
    for (const [number, { parts, partsWanted }] of this.#known) {
      if (parts === (1 << partsWanted) - 1) continue;
      this.#report(`${this.#name}: number ${number}: one of its events is missing: removed`);
    }
    const numbers = [...this.#known.keys()].toSorted((one, other) => one - other);
    const first = numbers[0] ?? 1;
    if (first > 1) notes.push(`${this.#name}: begins at number ${first}`);
    for (const number of [...this.#waiting.keys()].toSorted((one, other) => one - other)) {
      if (number === first) continue;
      const before = numbers[numbers.indexOf(number) - 1] ?? 0;
      const range = rangeText(before + 1, number - 1);
      const explained = givenUp.some(
        ({ store, partition, from, to }) =>
          store === this.#store &&
          partition === this.#partition &&
          from <= before + 1 &&
          to >= number - 1,
      );
      if (explained)
        notes.push(`${this.#name}: number ${range}: given up by the store, which says so`);
      else this.#report(`${this.#name}: number ${range}: missing: removed`);
    }
    return notes;
  }

  get #name(): string {
    return `store ${this.#store.slice(0, 8)} ${partitionName(this.#partition)}`;
  }

  /** Whether the line's predecessor is known; reports a hash that does not follow from it. */
  #link({ number, hash, entry }: ShippedLine): boolean {
    const start = chainStart(this.#store, this.#partition);
    const before = number === 1 ? start.hash : this.#known.get(number - 1)?.hash;
    if (before === undefined) return this.#linksOverGap(number, hash, entry, start);
    if (!sameHash(chainHash(before, number, entry), hash)) {
      this.#report(`${this.#name}: number ${number}: does not follow from the one before: changed`);
    }
    return true;
  }

  /** The first entry may follow entries that the store gave up before anything was chained. */
  #linksOverGap(number: number, hash: Uint8Array, entry: Uint8Array, start: ChainPoint): boolean {
    const { hash: before } = chainGap(start, number - 1);
    return sameHash(chainHash(before, number, entry), hash);
  }

  /** In one file a partition's numbers only grow, except for lines that were sent again from some number on. */
  #order({ number, part }: ShippedLine, where: string, file: string): void {
    const place = this.#places.get(file) ?? { number: 0, part: 0, seen: new Set<number>() };
    this.#places.set(file, place);
    const again = place.seen.has(number);
    if (number < place.number && !again) {
      this.#report(`${where}: number ${number} follows ${place.number}: reordered`);
    }
    if (part > 0 && (place.number !== number || place.part !== part - 1)) {
      this.#report(`${where}: number ${number}: its outcome does not follow on pending: reordered`);
    }
    place.number = number;
    place.part = part;
    place.seen.add(number);
  }

  #noteGivenUp({ store, number, content }: ShippedLine): void {
    for (const { action, detail = {} } of content.events) {
      if (action !== "audit.drop") continue;
      const [partition, from, to] = [detail["partition"], detail["from"], detail["to"]].map(Number);
      if (partition === undefined || from === undefined || to === undefined) continue;
      this.#givenUp.set(number, { store, partition, from, to });
    }
  }

  #report(line: string): void {
    this.#findings.add(line);
  }
}
