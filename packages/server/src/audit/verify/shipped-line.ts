import { isDeepStrictEqual } from "node:util";
import { type AuditEntryContent, trailCount } from "@holdfast/engine";
import { z } from "zod";
import { type CadfEvent, renderCadf } from "../cadf.ts";
import { readEntry } from "../trail/read-entry.ts";

const shape = z.looseObject({
  region: z.string(),
  outcome: z.string(),
  logSourceCRN: z.string(),
  holdfast: z.strictObject({
    store: z.string().min(1).max(64),
    partition: z
      .number()
      .int()
      .min(0)
      .max(trailCount - 1),
    number: z.number().int().min(1),
    hash: z.string().regex(/^[0-9a-f]{64}$/),
    entry: z.base64(),
  }),
});

/** More than the longest texts of an entry need, each of them several times. */
const lengthMax = 1 << 22;

/** A line of a sink's file, read and compared with the entry that it carries. */
export interface ShippedLine {
  readonly store: string;
  readonly region: string;
  readonly account: string;
  readonly partition: number;
  readonly number: number;
  readonly hash: Uint8Array;
  readonly entry: Uint8Array;
  /** Which of the entry's events it is, from 0. */
  readonly part: number;
  readonly content: AuditEntryContent;
}

/** Reads a line; returns a text if the line is not valid, or differs from its entry. */
export function readShippedLine(text: string): ShippedLine | string {
  if (text.length > lengthMax) return "is longer than any event";
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return "is not JSON";
  }
  const parsed = shape.safeParse(json);
  if (!parsed.success) return "is not an event with its proof";
  if (compact(text) !== JSON.stringify(json))
    return "has a field twice, or is not as a sink writes it: changed";
  const { holdfast, region, logSourceCRN, outcome } = parsed.data;
  const { store, partition, number } = holdfast;
  const entry = Buffer.from(holdfast.entry, "base64");
  const account = accountIn(logSourceCRN);
  if (account === undefined) return `number ${number}: names no account: changed`;
  const found = { store, region, account, partition, number };
  const hash = Buffer.from(holdfast.hash, "hex");
  const content = readEntry(entry);
  const part = content.events.findIndex((event) => event.outcome === outcome);
  const { holdfast: _, ...event } = parsed.data;
  const place = { storeId: store, partition, number };
  const isSame = (["current", "2019"] as const).some((names) =>
    isDeepStrictEqual(event, plain(renderCadf(content, place, { region, account, names })[part])),
  );
  if (!isSame) return `number ${number}: does not say what its entry says: changed`;
  return { ...found, hash, entry, part, content };
}

/** JSON without spaces, and its texts with the escapes that `JSON.stringify` writes. */
function compact(json: string): string {
  return json.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|\s+/g, (part) => {
    return part.startsWith('"') ? JSON.stringify(JSON.parse(part)) : "";
  });
}

function accountIn(crn: string): string | undefined {
  try {
    return decodeURIComponent(/:a\/([^:]*):/.exec(crn)?.[1] ?? "");
  } catch {
    return undefined;
  }
}

/** The event as JSON represents it. */
function plain(event: CadfEvent | undefined): unknown {
  return event === undefined ? undefined : JSON.parse(JSON.stringify(event));
}
