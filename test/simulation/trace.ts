import { createHash } from "node:crypto";
import type { Event } from "@holdfast/engine";

const linesMax = 4_000;

/** What happened in a history, line by line, and a hash of it all. */
export class Trace {
  readonly #now: () => number;
  readonly #hash = createHash("sha256");
  readonly #lines: string[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  line(who: string, what: string): void {
    const line = `${this.#now().toFixed(1).padStart(9)} ${who.padEnd(9)} ${what}`;
    this.#hash.update(line);
    if (this.#lines.length < linesMax) this.#lines.push(line);
  }

  event(node: string, event: Event): void {
    const text = textOf(event);
    if (text !== undefined) this.line(node, text);
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Names everything that happened; ends the trace. */
  digest(): string {
    return this.#hash.digest("hex").slice(0, 16);
  }
}

function textOf(event: Event): string | undefined {
  switch (event.type) {
    case "serving":
      return `serves from ${event.from}, ${event.writes ? "writes" : "no writes"}: ${event.reason}`;
    case "peer":
      return `region ${event.region} is ${event.state}: ${event.reason}`;
    case "push":
      return `push of ${event.records}: ${event.result}`;
    case "join":
      return event.result === "same" ? undefined : `join from ${event.region}: ${event.result}`;
    case "operation":
      return event.result === "InternalServerError"
        ? `${event.operation} failed: ${stackOf(event.cause)}`
        : undefined;
    case "leader":
      return `${event.state} in epoch ${event.epoch}: ${event.reason}`;
    case "agreement":
      return `agreement: ${event.result}`;
    case "duty":
      return event.ok ? undefined : `duty ${event.duty} failed: ${String(event.cause)}`;
    case "warning":
      return `warning: ${event.message}: ${String(event.cause)}`;
    default:
      return undefined;
  }
}

function stackOf(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
