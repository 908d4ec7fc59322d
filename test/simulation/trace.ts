import { createHash } from "node:crypto";
import type { Event } from "@holdfast/engine";

const linesMax = 4_000;
/** The hash takes so many characters at once: a call for each line costs more. */
const pieceMax = 1 << 14;

/** The events of a history, line by line, and a hash of them. */
export class Trace {
  readonly #now: () => number;
  readonly #hash = createHash("sha256");
  readonly #lines: string[] = [];
  #piece = "";

  constructor(now: () => number) {
    this.#now = now;
  }

  line(who: string, what: string): void {
    const line = `${this.#now().toFixed(1).padStart(9)} ${who.padEnd(9)} ${what}`;
    this.#piece += line;
    if (this.#piece.length > pieceMax) this.#take();
    if (this.#lines.length < linesMax) this.#lines.push(line);
  }

  event(node: string, event: Event): void {
    const text = textOf(event);
    if (text !== undefined) this.line(node, text);
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  /** The hash of everything that happened; ends the trace. */
  digest(): string {
    this.#take();
    return this.#hash.digest("hex").slice(0, 16);
  }

  #take(): void {
    this.#hash.update(this.#piece);
    this.#piece = "";
  }
}

const textOfType: {
  readonly [Type in Event["type"]]?: (
    event: Extract<Event, { readonly type: Type }>,
  ) => string | undefined;
} = {
  serving: ({ from, writes, reason }) =>
    `serves from ${from}, ${writes ? "writes" : "no writes"}: ${reason}`,
  peer: ({ region, state, reason }) => `region ${region} is ${state}: ${reason}`,
  push: ({ records, result }) => `push of ${records}: ${result}`,
  join: ({ region, result }) => (result === "same" ? undefined : `join from ${region}: ${result}`),
  operation: ({ operation, result, cause }) =>
    result === "InternalServerError" ? `${operation} failed: ${stackOf(cause)}` : undefined,
  regionStores: ({ reason }) => reason,
  leader: ({ state, epoch, reason }) => `${state} in epoch ${epoch}: ${reason}`,
  agreement: ({ result }) => `agreement: ${result}`,
  duty: ({ ok, duty, cause }) => (ok ? undefined : `duty ${duty} failed: ${String(cause)}`),
  warning: ({ message, cause }) => `warning: ${message}: ${String(cause)}`,
};

function textOf(event: Event): string | undefined {
  const text = textOfType[event.type] as ((of: Event) => string | undefined) | undefined;
  return text?.(event);
}

function stackOf(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
