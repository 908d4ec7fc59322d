import type { Response, ResponseItem } from "@holdfast/kmip";
import { hexOf, type State, stateIn } from "./keys.ts";

/** States in the order of an object's life; no object goes back (KMIP 2.1, 4.57, figure 1). */
const ranks: Readonly<Record<string, number>> = {
  PreActive: 0,
  Active: 1,
  Deactivated: 2,
  Compromised: 3,
  Destroyed: 4,
  DestroyedCompromised: 5,
};
const destroyed = 4;

/** The position of a state in an object's life. */
export function rankOf(state: State): number {
  const rank = ranks[state];
  if (rank === undefined) throw new Error(`an unknown state: ${state}`);
  return rank;
}

/** What is known about one object. */
export interface Entry {
  readonly id: string;
  /** Its bytes in hex, from Register or the first Get. */
  bytes: string | undefined;
  /** The latest state that the server acknowledged or showed. */
  rank: number;
  /** The latest state that a client asked for; the object may not have reached it. */
  tried: number;
  /** A transition got no clear answer, or one is in progress. */
  held: boolean;
  /** The state that a transition asked for whose connection ended before its answer. */
  unanswered?: number;
}

/** Remembers what the server acknowledged, and records contradictions. */
export class Ledger {
  readonly entries = new Map<string, Entry>();
  /** Contradictions, one line each. */
  readonly violations: string[] = [];

  made(id: string, bytes: string | undefined): Entry {
    if (this.entries.has(id)) this.violations.push(`${id}: handed out twice`);
    const entry: Entry = { id, bytes, rank: 0, tried: 0, held: false };
    this.entries.set(id, entry);
    return entry;
  }

  /** A transition was acknowledged, or an answer showed the state. */
  reached(entry: Entry, rank: number): void {
    entry.rank = Math.max(entry.rank, rank);
  }

  /** Compares an answer with what was known before; returns whether there was an answer. */
  compare(
    entry: Entry,
    before: number,
    where: string,
    seen: { readonly state: ResponseItem; readonly key: ResponseItem },
  ): boolean {
    const known = this.#state(entry, before, where, seen.state);
    return this.#bytes(entry, before, where, seen.key) && known;
  }

  /** Objects that a request without an answer has changed; a drain must not do this. */
  doneUnanswered(): readonly string[] {
    return [...this.entries.values()]
      .filter(({ rank, unanswered }) => unanswered !== undefined && rank >= unanswered)
      .map(({ id }) => id);
  }

  #state(entry: Entry, before: number, where: string, item: ResponseItem): boolean {
    if (isRefused(item)) return false;
    if (item.status !== "Success") {
      this.violations.push(`${entry.id}: its state ${where}: ${item.reason}: ${item.message}`);
      return true;
    }
    const state = stateIn(item.payload as Response<"GetAttributes">);
    const rank = rankOf(state);
    if (rank < before || rank > entry.tried) {
      this.violations.push(
        `${entry.id}: ${state} ${where}, where ${before} was reached and ${entry.tried} asked for`,
      );
    }
    this.reached(entry, rank);
    return true;
  }

  #bytes(entry: Entry, before: number, where: string, item: ResponseItem): boolean {
    if (isRefused(item)) return false;
    if (item.status === "Success") {
      if (before >= destroyed) this.violations.push(`${entry.id}: destroyed, but read ${where}`);
      const bytes = hexOf(item.payload as Response<"Get">);
      entry.bytes ??= bytes;
      if (bytes !== entry.bytes) this.violations.push(`${entry.id}: other bytes ${where}`);
      return true;
    }
    const gone = item.reason === "ItemNotFound" || item.reason === "ObjectDestroyed";
    if (!gone || entry.tried < destroyed) {
      this.violations.push(`${entry.id}: its bytes ${where}: ${item.reason}: ${item.message}`);
    }
    return true;
  }
}

/** Whether the server answered that it cannot tell or cannot promise. */
function isRefused({ status, reason }: ResponseItem): boolean {
  return status !== "Success" && reason === "GeneralFailure";
}
