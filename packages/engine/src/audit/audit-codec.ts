import { StoreUnavailable } from "../base/errors.ts";
import { uuidText, writeUuid } from "../base/uuid.ts";
import { type AuditEvent, fromRegion } from "./audit-event.ts";
import { auditWords } from "./audit-words.ts";

/** The content of an audit trail entry: one event, or the pending and outcome events of one action. */
export interface AuditEntryContent {
  readonly instance: string;
  readonly events: readonly AuditEvent[];
}

/*
 * An entry: format (1 byte), flags (1), time in milliseconds (6), then texts: instance, action, initiator, request and,
 * if their flags are set, target, reason and detail (JSON). A text begins with one byte: the length of the UTF-8 bytes
 * that follow, or one of `kinds`.
 */
const format = 1;
const headerLength = 8;
const outcomes = ["pending", "success", "failure", "unknown"] as const;
const outcomeMask = 0x03;
const flags = { pair: 0x04, target: 0x08, reason: 0x10, detail: 0x20 } as const;
const kinds = { uuid: 0xf0, sha256: 0xf1, word: 0xf2, long: 0xf3 } as const;
const shortMax = 0xef;
/** Longer texts are cut, so that no event makes a script slow enough to delay all other clients. */
const longMax = 0x1fff;
const timeMax = 2 ** 48 - 1;
const hex64 = /^[0-9a-f]{64}$/;

const wordNumbers: ReadonlyMap<string, number> = new Map(
  auditWords.map((word, number) => [word, number]),
);

/** The entries of an instance's events. A pending event and its outcome share one if they differ in nothing else. */
export function encodeAudit(instance: string, events: readonly AuditEvent[]): readonly Buffer[] {
  const entries: Buffer[] = [];
  for (let at = 0; at < events.length; at += 1) {
    const event = events[at] as AuditEvent;
    const outcome = events[at + 1];
    const paired = outcome !== undefined && isPair(event, outcome);
    entries.push(encodeEntry(instance, paired ? outcome : event, paired));
    if (paired) at += 1;
  }
  return entries;
}

/** Decodes an entry; throws `StoreUnavailable("corrupt")` for malformed bytes. */
export function decodeAudit(entry: Uint8Array): AuditEntryContent {
  const reader = new EntryReader(entry);
  const { flag } = reader;
  const instance = reader.text();
  const base = {
    time: auditTimeOf(entry),
    action: reader.text(),
    initiator: reader.text(),
    requestId: reader.text(),
    ...(flag & flags.target ? { target: reader.text() } : {}),
  };
  const reason = flag & flags.reason ? { reason: reader.text() } : {};
  const detail = flag & flags.detail ? { detail: readDetail(reader.text()) } : {};
  reader.end();
  const outcome = outcomes[flag & outcomeMask] ?? "unknown";
  const last: AuditEvent = { ...base, outcome, ...reason, ...detail };
  if (!(flag & flags.pair)) return { instance, events: [last] };
  return { instance, events: [{ ...base, outcome: "pending", ...detail }, last] };
}

/** The time of an entry's event, without reading the rest. */
export function auditTimeOf(entry: Uint8Array): number {
  if (entry.length < headerLength) throw damaged();
  return Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength).readUIntBE(2, 6);
}

function isPair(pending: AuditEvent, outcome: AuditEvent): boolean {
  return (
    pending.outcome === "pending" &&
    outcome.outcome !== "pending" &&
    pending.reason === undefined &&
    pending.time === outcome.time &&
    pending.action === outcome.action &&
    pending.initiator === outcome.initiator &&
    pending.requestId === outcome.requestId &&
    pending.target === outcome.target &&
    JSON.stringify(pending.detail) === JSON.stringify(outcome.detail)
  );
}

function encodeEntry(instance: string, event: AuditEvent, paired: boolean): Buffer {
  const { time, action, outcome, initiator, requestId, target, reason, detail } = event;
  const header = Buffer.alloc(headerLength);
  let flag = outcomes.indexOf(outcome);
  if (paired) flag |= flags.pair;
  const parts = [header, ...[instance, action, initiator, requestId].map(encodeText)];
  const optional = (bit: number, value: string | undefined): void => {
    if (value === undefined) return;
    flag |= bit;
    parts.push(encodeText(value));
  };
  optional(flags.target, target);
  optional(flags.reason, reason);
  optional(flags.detail, detail && encodeDetail(detail));
  header[0] = format;
  header[1] = flag;
  header.writeUIntBE(Math.min(Math.max(0, Math.trunc(time)), timeMax), 2, 6);
  return Buffer.concat(parts);
}

function encodeText(text: string): Buffer {
  const word = wordNumbers.get(text);
  if (word !== undefined) return Buffer.of(kinds.word, word);
  if (text.length === 36) {
    const bytes = Buffer.alloc(17, kinds.uuid);
    if (writeUuid(text, bytes, 1)) return bytes;
  }
  if (hex64.test(text)) return Buffer.concat([Buffer.of(kinds.sha256), Buffer.from(text, "hex")]);
  const bytes = Buffer.from(text, "utf8").subarray(0, longMax);
  if (bytes.length <= shortMax) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  return Buffer.concat([Buffer.of(kinds.long, bytes.length >> 8, bytes.length & 0xff), bytes]);
}

/** A detail that is too long is replaced by its length: half of it would not be JSON. Which region sent it stays. */
function encodeDetail(detail: NonNullable<AuditEvent["detail"]>): string {
  const text = JSON.stringify(detail);
  if (Buffer.byteLength(text) <= longMax) return text;
  const region = detail[fromRegion];
  const kept = region === undefined ? {} : { [fromRegion]: region };
  return JSON.stringify({ ...kept, tooLong: text.length });
}

function readDetail(text: string): NonNullable<AuditEvent["detail"]> {
  try {
    const detail: unknown = JSON.parse(text);
    if (typeof detail === "object" && detail !== null) return detail as Record<string, string>;
  } catch {
    // Reported below.
  }
  throw damaged();
}

class EntryReader {
  readonly flag: number;
  readonly #bytes: Buffer;
  #at = headerLength;

  constructor(entry: Uint8Array) {
    this.#bytes = Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength);
    if (entry.length < headerLength || entry[0] !== format) throw damaged();
    this.flag = entry[1] ?? 0;
  }

  text(): string {
    const kind = this.#take(1)[0] ?? 0;
    if (kind <= shortMax) return this.#take(kind).toString("utf8");
    if (kind === kinds.uuid) return uuidText(this.#take(16));
    if (kind === kinds.sha256) return this.#take(32).toString("hex");
    if (kind === kinds.long) return this.#take(this.#take(2).readUInt16BE()).toString("utf8");
    const word = kind === kinds.word ? auditWords[this.#take(1)[0] ?? 255] : undefined;
    if (word === undefined) throw damaged();
    return word;
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw damaged();
  }

  #take(length: number): Buffer {
    const part = this.#bytes.subarray(this.#at, this.#at + length);
    if (part.length !== length) throw damaged();
    this.#at += length;
    return part;
  }
}

function damaged(): StoreUnavailable {
  return new StoreUnavailable("corrupt", "an entry of the audit trail does not decode");
}
