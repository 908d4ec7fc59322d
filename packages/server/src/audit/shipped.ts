import type { ChainedEntry } from "@holdfast/regions";
import { type CadfEvent, type CadfSettings, renderCadf } from "./cadf.ts";
import { readEntry } from "./read-entry.ts";

/** What a shipped event carries besides CADF, by which `holdfast audit verify` checks it. */
interface Proof {
  /** Names the store in which it was written. */
  readonly store: string;
  readonly partition: number;
  readonly number: number;
  /** SHA-256(the hash before ‖ number, 6 bytes big-endian ‖ entry), hexadecimal. */
  readonly hash: string;
  /** The entry as the store has it, base64: what the hash is over. */
  readonly entry: string;
}

/** An event as sinks get it. */
export type ShippedEvent = CadfEvent & { readonly holdfast: Proof };

/** The events of an entry as sinks get them. */
function shippedEvents(
  { storeId, partition, number, bytes, hash }: ChainedEntry,
  settings: CadfSettings,
): readonly ShippedEvent[] {
  const proof: Proof = {
    store: storeId,
    partition,
    number,
    hash: Buffer.from(hash).toString("hex"),
    entry: Buffer.from(bytes).toString("base64"),
  };
  const place = { storeId, partition, number };
  return renderCadf(readEntry(bytes), place, settings).map((event) => ({
    ...event,
    holdfast: proof,
  }));
}

/** All events of some entries. */
export function allShipped(
  entries: readonly ChainedEntry[],
  settings: CadfSettings,
): readonly ShippedEvent[] {
  return entries.flatMap((entry) => shippedEvents(entry, settings));
}
