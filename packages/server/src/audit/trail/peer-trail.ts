import { ManagementError } from "@holdfast/admin";
import { TimedOut, type Timers, withTimeout } from "@holdfast/engine";
import type {
  PeerCommandInput,
  PeerCommandName,
  PeerCommandOutput,
  PeerCommands,
} from "../../records/peer-commands.ts";
import { trailBytesMax, trailEntriesMax, trailInstancesMax } from "../../records/trail-commands.ts";
import type { EventFilters } from "./event-filters.ts";
import type { AuditReader } from "./reader.ts";
import type { NewsPlace, PageWish, Trail, TrailEntry, TrailNews, TrailPage } from "./trail.ts";

/** How long to wait for another region's answer. */
const askMs = 3_000;

/**
 * Asks another region about its trail, and waits only briefly: the list can leave that region out.
 * Rejects with a `ManagementError`.
 */
export async function askOfTrail<Name extends PeerCommandName>(
  commands: Pick<PeerCommands, "ask">,
  timers: Pick<Timers, "sleep">,
  region: string,
  name: Name,
  input: PeerCommandInput<Name>,
): Promise<PeerCommandOutput<Name>> {
  try {
    return await withTimeout(timers, askMs, commands.ask(region, name, input));
  } catch (error) {
    if (!(error instanceof TimedOut)) throw error;
    throw new ManagementError("peerUnreachable", `region ${region}: ${error.message}`);
  }
}

/** Another region's audit trail, read by one of its nodes from its own store. */
export class PeerTrail implements Trail {
  readonly region: string;
  readonly #commands: Pick<PeerCommands, "ask">;
  readonly #timers: Pick<Timers, "sleep">;

  constructor(region: string, commands: Pick<PeerCommands, "ask">, timers: Pick<Timers, "sleep">) {
    this.region = region;
    this.#commands = commands;
    this.#timers = timers;
  }

  async page(filters: EventFilters, { limit, order, cursor }: PageWish): Promise<TrailPage> {
    const asked = {
      filters: copied(filters),
      limit: Math.min(limit, trailEntriesMax),
      order,
      ...(cursor !== undefined && { cursor }),
    };
    const answer = await this.#ask("readTrail", asked);
    const { storeId, start, next } = answer;
    const page = { storeId, start, entries: answer.entries.map(opened) };
    return next === undefined ? page : { ...page, next };
  }

  async news(filters: EventFilters, place: NewsPlace): Promise<TrailNews> {
    const asked = { filters: copied(filters), place };
    const answer = await this.#ask("readTrailNews", asked);
    const { storeId, after, more, sinceMs } = answer;
    const news = { storeId, after, more, entries: answer.entries.map(opened) };
    return sinceMs === undefined ? news : { ...news, sinceMs };
  }

  #ask<Name extends PeerCommandName>(
    name: Name,
    input: PeerCommandInput<Name>,
  ): Promise<PeerCommandOutput<Name>> {
    return askOfTrail(this.#commands, this.#timers, this.region, name, input);
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

/** The filters of a question. More instances than it may name are not named: who asks leaves out the events of others. */
function copied({ instances, ...rest }: EventFilters) {
  const named = instances !== undefined && instances.length <= trailInstancesMax;
  return { ...rest, ...(named && { instances: [...instances] }) };
}

function packed({ partition, number, bytes }: TrailEntry) {
  return { partition, number, bytes: Buffer.from(bytes).toString("base64") };
}

function opened({ bytes, ...place }: ReturnType<typeof packed>): TrailEntry {
  return { ...place, bytes: Buffer.from(bytes, "base64") };
}
