import { setImmediate as turn } from "node:timers/promises";
import type { ChainedEntry } from "@holdfast/regions";
import { type CadfEvent, type CadfSettings, renderCadf } from "../cadf.ts";
import { readEntry } from "../trail/read-entry.ts";

/** What a shipped event has in addition to CADF, so that `holdfast audit verify` can check it. */
interface Proof {
  /** Names the store in which it was written. */
  readonly store: string;
  readonly partition: number;
  readonly number: number;
  /** SHA-256(the hash before ‖ number, 6 bytes big-endian ‖ entry), hexadecimal. */
  readonly hash: string;
  /** The entry as the store has it, base64; the hash covers it. */
  readonly entry: string;
}

/** An event as sinks get it. */
type ShippedEvent = CadfEvent & { readonly holdfast: Proof };

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

/** A shipped event, and its JSON on one line. */
export interface ShippedText {
  readonly event: ShippedEvent;
  readonly text: string;
}

/** How many entries are rendered before other work of this node gets a turn. */
const entriesAtOnce = 32;

/** All events of some entries, as text. Gives clients' requests a turn in between. */
export async function shippedTexts(
  entries: readonly ChainedEntry[],
  settings: CadfSettings,
): Promise<readonly ShippedText[]> {
  const texts: ShippedText[] = [];
  for (let at = 0; at < entries.length; at += entriesAtOnce) {
    if (at > 0) await turn();
    for (const entry of entries.slice(at, at + entriesAtOnce)) {
      for (const event of shippedEvents(entry, settings)) {
        texts.push({ event, text: JSON.stringify(event) });
      }
    }
  }
  return texts;
}
