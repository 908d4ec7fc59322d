import { setTimeout as delay } from "node:timers/promises";
import { ManagementError } from "@holdfast/admin";
import type {
  PeerCommandInput,
  PeerCommandName,
  PeerCommandOutput,
  PeerCommands,
} from "../../records/peer-commands.ts";
import { trailBytesMax, trailEntriesMax } from "../../records/trail-commands.ts";
import type { EventFilters } from "./event-filters.ts";
import type { AuditReader } from "./reader.ts";
import type { NewsPlace, PageWish, Trail, TrailEntry, TrailNews, TrailPage } from "./trail.ts";

/** For how long another region's answer is waited for. */
const askMs = 3_000;

/** Asks another region about its trail, and does not wait long: what this region has is answered without it. */
export async function askOfTrail<Name extends PeerCommandName>(
  commands: Pick<PeerCommands, "ask">,
  region: string,
  name: Name,
  input: PeerCommandInput<Name>,
): Promise<PeerCommandOutput<Name>> {
  const ending = new AbortController();
  const late = async () => {
    await delay(askMs, undefined, { signal: ending.signal, ref: false });
    throw new ManagementError("peerUnreachable", `region ${region}: no answer within ${askMs} ms`);
  };
  const asked = commands.ask(region, name, input);
  try {
    return await Promise.race([asked, late()]);
  } finally {
    asked.catch(() => undefined);
    ending.abort();
  }
}

/** Another region's audit trail, read by one of its nodes from its own store. */
export class PeerTrail implements Trail {
  readonly region: string;
  readonly #commands: Pick<PeerCommands, "ask">;

  constructor(region: string, commands: Pick<PeerCommands, "ask">) {
    this.region = region;
    this.#commands = commands;
  }

  async page(filters: EventFilters, { limit, order, cursor }: PageWish): Promise<TrailPage> {
    const asked = {
      filters: copied(filters),
      limit: Math.min(limit, trailEntriesMax),
      order,
      ...(cursor !== undefined && { cursor }),
    };
    const answer = await askOfTrail(this.#commands, this.region, "readTrail", asked);
    const { storeId, start, next } = answer;
    const page = { storeId, start, entries: answer.entries.map(opened) };
    return next === undefined ? page : { ...page, next };
  }

  async news(filters: EventFilters, place: NewsPlace): Promise<TrailNews> {
    const asked = { filters: copied(filters), place };
    const answer = await askOfTrail(this.#commands, this.region, "readTrailNews", asked);
    const { storeId, after, more, sinceMs } = answer;
    const news = { storeId, after, more, entries: answer.entries.map(opened) };
    return sinceMs === undefined ? news : { ...news, sinceMs };
  }
}

/** Lets the other region read this one's trail. */
export function serveTrail(commands: Pick<PeerCommands, "serve">, reader: AuditReader): void {
  commands.serve({
    readTrail: async ({ filters, ...wish }) => {
      const page = await reader.page(filters, { ...wish, bytesMax: trailBytesMax });
      return { ...page, entries: page.entries.map(packed) };
    },
    readTrailNews: async ({ filters, place }) => {
      const news = await reader.news(filters, place, trailBytesMax);
      return { ...news, entries: news.entries.map(packed) };
    },
  });
}

function copied({ instances, ...rest }: EventFilters) {
  return { ...rest, ...(instances !== undefined && { instances: [...instances] }) };
}

function packed({ partition, number, bytes }: TrailEntry) {
  return { partition, number, bytes: Buffer.from(bytes).toString("base64") };
}

function opened({ bytes, ...place }: ReturnType<typeof packed>): TrailEntry {
  return { ...place, bytes: Buffer.from(bytes, "base64") };
}
