import type { Bytes } from "./reply.ts";

/** A member and its score. */
export interface Scored {
  readonly score: number;
  readonly member: Bytes;
}

/** A sorted set: by score, then by the members' bytes. */
export class SortedSet {
  readonly #scores = new Map<Bytes, number>();
  #entries: Scored[] = [];

  get size(): number {
    return this.#entries.length;
  }

  /** In order, lowest first. */
  get entries(): readonly Scored[] {
    return this.#entries;
  }

  copy(): SortedSet {
    const made = new SortedSet();
    made.#entries = [...this.#entries];
    for (const { score, member } of made.#entries) made.#scores.set(member, score);
    return made;
  }

  scoreOf(member: Bytes): number | undefined {
    return this.#scores.get(member);
  }

  put(score: number, member: Bytes): void {
    this.delete(member);
    this.#scores.set(member, score);
    this.#entries.splice(this.#place(score, member), 0, { score, member });
  }

  delete(member: Bytes): boolean {
    const score = this.#scores.get(member);
    if (score === undefined) return false;
    this.#scores.delete(member);
    this.#entries.splice(this.#place(score, member), 1);
    return true;
  }

  /** The index of the first entry that is not below. */
  #place(score: number, member: Bytes): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const entry = this.#entries[middle];
      const below =
        entry !== undefined &&
        (entry.score < score || (entry.score === score && entry.member < member));
      if (below) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
