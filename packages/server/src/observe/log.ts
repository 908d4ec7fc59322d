import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { printable } from "@holdfast/admin/approval-text";
import pino, { type DestinationStream, type Logger } from "pino";
import type { NodeEvent } from "./events.ts";
import { type Level, type LogRow, logTable, redactedNames } from "./log-table.ts";

/** Options of a log. */
export interface LogOptions {
  readonly level: Level;
  readonly region: string;
  readonly node: string;
  readonly monotonicMs: () => number;
  /** Standard output by default. */
  readonly destination?: DestinationStream;
}

/** Lines per second of each kind that strangers or an outage can cause. */
const limitedLinesMax = 50;
const causeDepthMax = 4;
/** How long a repeated event is not logged again, and how many are remembered: strangers cause some of them. */
const sameMs = 10 * 60_000;
const sameMax = 1000;
/** Buffer for a slow reader; further lines are dropped, so that the log cannot fill the memory. */
const unwrittenBytesMax = 8 << 20;
const closeMs = 1000;

/** The node's log: one JSON object per line. */
export class Log {
  /** For events. Their lines contain only the fields in the table, so they need no search for secrets (20 µs each). */
  readonly #logger: Logger;
  /** For all other lines. */
  readonly #redacting: Logger;
  readonly #monotonicMs: () => number;
  readonly #limits = new Map<string, { sinceMs: number; lines: number; suppressed: number }>();
  /** Events that were logged, oldest first: when, and how often each was repeated since. */
  readonly #same = new Map<string, { readonly sinceMs: number; times: number }>();
  /** Standard output. */
  readonly #output: ReturnType<typeof pino.destination> | undefined;
  /** Names of instances by identifier. */
  #instances: ReadonlyMap<unknown, string> = new Map();
  #closed = false;

  constructor(options: LogOptions) {
    const { level, region, node, destination } = options;
    this.#monotonicMs = options.monotonicMs;
    this.#output =
      destination === undefined
        ? pino.destination({ fd: 1, sync: false, maxLength: unwrittenBytesMax })
        : undefined;
    this.#logger = pino(
      {
        level,
        base: { region, node },
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
        hooks: { streamWrite: escapedLine },
      },
      destination ?? this.#output ?? { write: () => undefined },
    );
    const paths = redactedNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
    this.#redacting = this.#logger.child({}, { redact: { paths, censor: "[redacted]" } });
  }

  /** Receives every event of the node; never throws. */
  readonly observe = (event: NodeEvent): void => {
    const row = logTable[event.type] as LogRow<NodeEvent> | undefined;
    if (row === undefined || this.#closed) return;
    const level = row.level(event);
    if (!this.#logger.isLevelEnabled(level)) return;
    const isLimited = typeof row.limited === "function" ? row.limited(event) : row.limited;
    const repeats = this.#repeats(event.type, row.sameAs?.(event) ?? "");
    const suppressed = isLimited === true && repeats !== undefined ? this.#admit(event.type) : 0;
    if (repeats === undefined || suppressed === undefined) return;
    const message = typeof row.message === "string" ? row.message : row.message(event);
    const isBrief = row.brief === true && !this.#logger.isLevelEnabled("debug");
    const line = pick(event, row.fields, isBrief);
    if (repeats > 0) line["repeats"] = repeats;
    const instanceName = this.#instances.get(line["instance"]);
    if (instanceName !== undefined) line["instanceName"] = instanceName;
    this.#logger[level](suppressed > 0 ? { ...line, suppressed } : line, message);
  };

  /** Sets the names of instances, for lines that refer to one. */
  nameInstances(instances: readonly { readonly id: string; readonly name: string }[]): void {
    this.#instances = new Map(instances.map(({ id, name }) => [id, name]));
  }

  /** Logs a line that is not an event: start and end of the process. */
  say(level: Level, message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    if (!this.#closed) this.#redacting[level](fields, message);
  }

  /**
   * Writes the lines that are still in memory, and logs no more; called before the process exits. The reader may hang
   * or be gone, and the stream's own flush at exit would then wait for ever.
   */
  async close(): Promise<void> {
    const output = this.#output;
    if (output === undefined || this.#closed) return;
    this.#closed = true;
    const ended = once(output, "close").catch(() => undefined);
    output.end();
    await Promise.race([ended, delay(closeMs)]);
    output.destroy();
  }

  /** How often the event was repeated since its last line; undefined = that line is recent, so log none now. */
  #repeats(type: string, same: string): number | undefined {
    if (same === "") return 0;
    const key = `${type} ${same}`;
    const nowMs = this.#monotonicMs();
    const known = this.#same.get(key);
    if (known !== undefined && nowMs - known.sinceMs < sameMs) {
      known.times++;
      return undefined;
    }
    this.#same.delete(key);
    this.#same.set(key, { sinceMs: nowMs, times: 0 });
    const oldest = this.#same.keys().next();
    if (this.#same.size > sameMax && !oldest.done) this.#same.delete(oldest.value);
    return known?.times ?? 0;
  }

  /** How many lines of this kind were left out before this one; undefined = leave out this one too. */
  #admit(type: string): number | undefined {
    const nowMs = this.#monotonicMs();
    const limit = this.#limits.get(type) ?? { sinceMs: nowMs, lines: 0, suppressed: 0 };
    this.#limits.set(type, limit);
    if (nowMs - limit.sinceMs >= 1000) {
      limit.sinceMs = nowMs;
      limit.lines = 0;
    }
    if (limit.lines >= limitedLinesMax) {
      limit.suppressed++;
      return undefined;
    }
    limit.lines++;
    const { suppressed } = limit;
    limit.suppressed = 0;
    return suppressed;
  }
}

/**
 * JSON escapes only the first 32 characters. Logs are read in terminals, and strangers choose a part of them, such as the
 * subject of a certificate: the same value is written with escapes for what could move the cursor or reorder the line.
 */
function escapedLine(line: string): string {
  // Most lines need no longer search (4 µs).
  return /[^\n -~]/.test(line) ? `${printable(line.trimEnd())}\n` : line;
}

function pick(
  event: NodeEvent,
  fields: readonly string[],
  isBrief: boolean,
): Record<string, unknown> {
  const line: Record<string, unknown> = {};
  for (const field of fields) {
    const value = (event as unknown as Record<string, unknown>)[field];
    if (value === undefined || value === "") continue;
    // The line's own `region` is this node's.
    if (field === "region") line["otherRegion"] = value;
    else if (field === "cause") line[field] = isBrief ? scrub(String(value)) : describeCause(value);
    else if (typeof value !== "object") line[field] = rounded(value);
  }
  return line;
}

function rounded(value: unknown): unknown {
  return typeof value === "number" ? Math.round(value * 1000) / 1000 : value;
}

/**
 * An error and its causes without their other properties: those of a Redis reply, for example, contain the command with
 * its arguments, passwords included.
 */
export function describeCause(cause: unknown, depth: number = 0): unknown {
  if (!(cause instanceof Error)) return scrub(String(cause));
  const { name, message, stack, cause: inner } = cause;
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
  return {
    name,
    message: scrub(message),
    ...(code === undefined ? {} : { code }),
    stack: framesOf(stack),
    ...(inner === undefined || depth >= causeDepthMax
      ? {}
      : { cause: describeCause(inner, depth + 1) }),
  };
}

/** Only the frames: the stack begins with the message, which is logged already. */
function framesOf(stack: string | undefined): string[] {
  const frames = (stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return frames.slice(0, 8).map((frame) => frame.trim());
}

/** Removes secrets that must not be in a log even if an error's message contains them. */
function scrub(text: string): string {
  return text
    .replaceAll(/:\/\/[^\s/@]*@/g, "://[redacted]@")
    .replaceAll(/-----BEGIN [^-]*PRIVATE KEY-----[^-]*(-----END [^-]*-----)?/g, "[redacted]")
    .slice(0, 2000);
}
