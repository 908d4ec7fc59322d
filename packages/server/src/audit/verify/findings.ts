import { isSurplus, partitionOfTrail, sysPartition } from "@holdfast/engine";

/** What a check found. */
export interface Verdict {
  /** What is wrong, one line each; if there are none, the trail is intact. */
  readonly findings: readonly string[];
  /** Notes: they report no fault. */
  readonly notes: readonly string[];
}

/** Collects findings, up to a maximum. */
export class Findings {
  readonly #most: number;
  readonly #lines: string[] = [];
  #more = 0;

  constructor(most = 100) {
    this.#most = most;
  }

  /** A line that was added before is left out. */
  add(line: string): void {
    if (this.#lines.includes(line)) return;
    if (this.#lines.length < this.#most) this.#lines.push(line);
    else this.#more += 1;
  }

  get lines(): readonly string[] {
    return this.#more === 0 ? this.#lines : [...this.#lines, `… and ${this.#more} more`];
  }
}

/** `5`, or `5 to 7`. */
export function rangeText(from: number, to: number): string {
  return from === to ? String(from) : `${from} to ${to}`;
}

/** A trail's name: its partition's, as in the store's keys. */
export function partitionName(trail: number): string {
  if (trail === sysPartition) return "sys";
  const name = `p${String(partitionOfTrail(trail)).padStart(2, "0")}`;
  return isSurplus(trail) ? `${name} surplus` : name;
}

/** A time that a witness signed, in seconds since the epoch; it may be a number that no date has. */
export function timeText(seconds: number): string {
  const time = new Date(seconds * 1000);
  return Number.isNaN(time.getTime()) ? `${seconds} s` : time.toISOString();
}
