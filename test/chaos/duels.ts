import { setTimeout as sleep } from "node:timers/promises";
import type { KmipClient } from "@holdfast/client";
import { createKey, look } from "../support/keys.ts";
import { rankOf } from "../support/ledger.ts";
import { seeded } from "../support/random.ts";
import { regionNames } from "../support/two-regions.ts";
import { changingReferences, groupAdded, newText } from "./attributes.ts";
import type { Clients, Endpoint } from "./clients.ts";
import type { Entry, History } from "./history.ts";
import type { Asked } from "./recorder.ts";
import { noteLook } from "./workload.ts";

/** A Destroy asks both regions several times; the Activate comes within this time. */
const agreedMs = 300;
const togetherMs = 30;
const retryMs = 50;
/** Enough for the longest cut; then nobody knows what came of it. */
const triesMax = 400;
/** Readers ask so often until a Destroy without a fault is over, and then less often. */
const watchMs = 10;
const laterMs = 300;
const usualMs = 800;
/** How often objects get a value at every endpoint at once in place of an end. */
const writersShare = 0.3;

/** A client that makes one change, and where it tries. */
interface Fighter {
  readonly name: string;
  readonly endpoint: () => Endpoint;
  readonly asked: Asked;
  readonly send: (session: KmipClient) => Promise<unknown>;
  /** It begins within this time. */
  readonly withinMs: number;
  readonly rank?: number;
}

/**
 * Clients that change one new key at the same moment at endpoints of both regions: one destroys it and one activates it,
 * and only one of them can succeed; or each adds a value, and all values stay. Others read the key meanwhile.
 */
export class Duels {
  readonly #clients: Clients;
  readonly #history: History;
  readonly #random: () => number;
  readonly #loops: readonly Promise<void>[];
  #stopped = false;

  constructor(
    clients: Clients,
    history: History,
    { count, seed }: { readonly count: number; readonly seed: number },
  ) {
    this.#clients = clients;
    this.#history = history;
    this.#random = seeded(seed);
    this.#loops = Array.from({ length: count }, (_, at) => this.#loop(`duel ${at + 1}`));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  async #loop(name: string): Promise<void> {
    while (!this.#stopped) {
      const entry = await this.#newKey(name);
      if (entry !== undefined) await this.#fight(name, entry);
      await sleep(retryMs);
    }
  }

  async #newKey(client: string): Promise<Entry | undefined> {
    const made = await this.#clients.steady("Create", this.#clients.next(), createKey);
    if (made.kind !== "done") return undefined;
    const entry = this.#history.created(made.answer, made.moment);
    this.#history.recorder.outcome(client, entry.id, { operation: "Create" }, made);
    return entry;
  }

  async #fight(name: string, entry: Entry): Promise<void> {
    const fighters =
      this.#random() < writersShare ? writersOf(entry, this.#clients.endpoints) : this.#ends(entry);
    let isOver = false;
    const readers = regionNames.map((region) =>
      this.#watch(`${name}, reader in ${region}`, this.#any(region), entry, () => isOver),
    );
    await Promise.all(fighters.map((one) => this.#change(name, one, entry)));
    isOver = true;
    await Promise.all(readers);
  }

  /** One that destroys the key in one region, and one that activates it in the other. */
  #ends(entry: Entry): readonly Fighter[] {
    const uniqueIdentifier = entry.id;
    const ranks = { destroyed: rankOf("Destroyed"), active: rankOf("Active") };
    entry.tried = ranks.destroyed;
    const [here, there] = this.#random() < 0.5 ? regionNames : regionNames.toReversed();
    return [
      {
        name: "destroyer",
        endpoint: () => this.#any(here),
        asked: { operation: "Destroy" },
        send: (session) => session.destroy({ uniqueIdentifier }),
        withinMs: togetherMs,
        rank: ranks.destroyed,
      },
      {
        name: "activator",
        endpoint: () => this.#any(there),
        asked: { operation: "Activate" },
        send: (session) => session.activate({ uniqueIdentifier }),
        withinMs: agreedMs,
        rank: ranks.active,
      },
    ];
  }

  /**
   * Tries until the answer is certain; any of the tries may have made the change. A value is added once: it is there after
   * the first try, or nobody knows.
   */
  async #change(duel: string, fighter: Fighter, entry: Entry): Promise<void> {
    const { asked, endpoint, name, rank, send, withinMs } = fighter;
    const client = `${duel}, ${name}`;
    const tries = rank === undefined ? 1 : triesMax;
    await sleep(this.#random() * withinMs);
    const beganMs = performance.now();
    for (let left = tries; left > 0 && !this.#stopped; left -= 1) {
      const outcome = await this.#clients.steady(asked.operation, endpoint(), send);
      this.#history.recorder.outcome(client, entry.id, asked, outcome);
      if (outcome.kind === "done") {
        const moment = { ...outcome.moment, beganMs };
        if (rank === undefined) this.#history.changed(moment);
        else this.#history.reached(entry, rank, moment, left < tries);
      }
      if (outcome.kind !== "failed") return;
      await sleep(retryMs);
    }
  }

  /** Reads the key until all changes are over, and then once more. */
  async #watch(
    client: string,
    endpoint: Endpoint,
    entry: Entry,
    isOver: () => boolean,
  ): Promise<void> {
    const beganMs = performance.now();
    for (let isLast = false; !isLast; ) {
      isLast = isOver() || this.#stopped;
      const seen = await this.#clients.steady("Get Attributes, Get", endpoint, (session) =>
        look(session, entry.id, changingReferences),
      );
      if (seen.kind === "done") {
        noteLook(this.#history, client, entry, seen.answer, seen.moment);
      }
      const isLong = performance.now() - beganMs > usualMs;
      if (!isLast) await sleep(isLong ? laterMs : watchMs);
    }
  }

  #any(region: string): Endpoint {
    const all = this.#clients.endpoints.filter((one) => one.region === region);
    return all[Math.floor(this.#random() * all.length)] as Endpoint;
  }
}

/** One that adds a value at each endpoint. */
function writersOf({ id }: Entry, endpoints: readonly Endpoint[]): readonly Fighter[] {
  return endpoints.map((endpoint) => ({
    name: `writer at ${endpoint.node}`,
    endpoint: () => endpoint,
    withinMs: togetherMs,
    ...groupAdded(id, newText()),
  }));
}
