import type { Observer, OwnStore, Timers } from "@holdfast/engine";
import type { NodeStore, StoreUse } from "../ports/ports.ts";

/** Times of the check, in milliseconds. */
export interface StoreCheckTimes {
  /** A node that was not heard for longer does not count. */
  readonly heardMs: number;
  /**
   * A difference that does not last is not reported: when an emptied store is initialised again, one node may notice it
   * before another.
   */
  readonly lastsMs: number;
  /** A difference that was not seen for longer is over. */
  readonly gapMs: number;
  /**
   * A lasting difference whose nodes or stores change is reported again after this time at the earliest: the other region
   * may name others in each of its answers.
   */
  readonly againMs: number;
}

/** Most stores, and most nodes of one store, that a report names. */
const namesMax = 5;

/** The product's times. */
export const storeCheckTimes: StoreCheckTimes = {
  heardMs: 3_000,
  lastsMs: 10_000,
  gapMs: 5_000,
  againMs: 60_000,
};

export interface StoreCheckOptions {
  readonly timers: Pick<Timers, "monotonicMs">;
  readonly observe: Observer;
  /** What was last heard of each node, this one included; several times where it was heard in several ways. */
  readonly uses: () => readonly StoreUse[];
  readonly times?: StoreCheckTimes;
}

/** The id of the store that a node uses. Undefined without a lease: the node may not know yet what became of the store. */
export function storeInUse(own: Pick<OwnStore, "state" | "storeId">): string | undefined {
  return own.state() === "none" ? undefined : own.storeId;
}

/** What a node knows of itself. */
export function ownUse(
  own: Pick<OwnStore, "state" | "storeId">,
  region: string,
  atMs: number,
): readonly StoreUse[] {
  const storeId = storeInUse(own);
  return storeId === undefined ? [] : [{ region, node: "this node", storeId, atMs }];
}

/** Different stores of one region's nodes. */
interface Difference {
  readonly stores: number;
  readonly reason: string;
}

interface Seen extends Difference {
  readonly sinceMs: number;
  readonly lastMs: number;
}

/**
 * Compares the stores that the nodes of each region use, and reports when they differ: a configuration is wrong, and what
 * one of the nodes acknowledges alone is not found at another. It changes nothing, since no node knows which one is wrong.
 */
export class StoreCheck {
  readonly #options: StoreCheckOptions;
  readonly #times: StoreCheckTimes;
  readonly #seen = new Map<string, Seen>();
  /** Region → its lasting difference. */
  readonly #lasting = new Map<string, Difference>();
  /** Region → what was reported last of its lasting difference, and when. */
  readonly #reported = new Map<string, { readonly reason: string; readonly atMs: number }>();
  readonly #sources: (() => readonly StoreUse[])[];

  constructor(options: StoreCheckOptions) {
    this.#options = options;
    this.#times = options.times ?? storeCheckTimes;
    this.#sources = [options.uses];
  }

  /** Also compares what is heard in another way. */
  hear(uses: () => readonly StoreUse[]): void {
    this.#sources.push(uses);
  }

  /** Compares; call it about once a second. */
  look(): void {
    const { timers, observe } = this.#options;
    const { lastsMs, gapMs } = this.#times;
    const nowMs = timers.monotonicMs();
    for (const [region, difference] of differences(this.recent())) {
      const known = this.#seen.get(region);
      const goesOn = known !== undefined && nowMs - known.lastMs <= gapMs;
      const sinceMs = goesOn ? known.sinceMs : nowMs;
      this.#seen.set(region, { ...difference, sinceMs, lastMs: nowMs });
    }
    for (const [region, { stores, reason, sinceMs, lastMs }] of this.#seen) {
      if (nowMs - lastMs > gapMs) {
        this.#seen.delete(region);
        this.#reported.delete(region);
        if (!this.#lasting.delete(region)) continue;
        const over = `no two nodes of region ${region} that answer use different stores any more`;
        observe({ type: "regionStores", region, stores: 1, reason: over });
      } else if (lastMs - sinceMs >= lastsMs) {
        this.#lasting.set(region, { stores, reason });
        this.#report(region, { stores, reason }, nowMs);
      }
    }
  }

  #report(region: string, { stores, reason }: Difference, nowMs: number): void {
    const last = this.#reported.get(region);
    if (last?.reason === reason) return;
    if (last !== undefined && nowMs - last.atMs < this.#times.againMs) return;
    this.#reported.set(region, { reason, atMs: nowMs });
    this.#options.observe({ type: "regionStores", region, stores, reason });
  }

  /** What was heard a short time ago. */
  recent(): readonly StoreUse[] {
    const nowMs = this.#options.timers.monotonicMs();
    const uses = this.#sources.flatMap((source) => source());
    return uses.filter(({ atMs }) => nowMs - atMs <= this.#times.heardMs);
  }

  /** The stores of the nodes of a region that is not this node's, as they have said themselves. */
  saidBy(region: string): readonly NodeStore[] {
    const uses = this.recent().filter((use) => use.region === region);
    return uses.map(({ node, storeId }) => ({ node, storeId }));
  }

  /** The regions of which a node was heard, and how many different stores their nodes use. */
  counts(): readonly (readonly [region: string, stores: number])[] {
    const heard = this.recent().map(({ region }) => region);
    const regions = new Set([...heard, ...this.#lasting.keys()]);
    return [...regions].map((region) => [region, this.#lasting.get(region)?.stores ?? 1]);
  }

  /** The lasting differences, in words. */
  get reasons(): readonly string[] {
    return [...this.#lasting.values()].map(({ reason }) => reason);
  }
}

/** The regions whose nodes use more than one store. */
function differences(uses: readonly StoreUse[]): ReadonlyMap<string, Difference> {
  const found = new Map<string, Difference>();
  for (const [region, ofRegion] of Map.groupBy(uses, (use) => use.region)) {
    const stores = Map.groupBy(ofRegion, ({ storeId }) => storeId);
    if (stores.size < 2) continue;
    const told = [...stores].map(([id, users]) => {
      const nodes = new Set(users.map(({ node }) => node));
      return `${id} (${some([...nodes], ", ")})`;
    });
    const reason = `the nodes of region ${region} use ${stores.size} different stores: ${some(told, " and ")}`;
    found.set(region, { stores: stores.size, reason });
  }
  return found;
}

/** The first of these texts in their order, and the number of the others. */
function some(texts: readonly string[], separator: string): string {
  const shown = texts.toSorted().slice(0, namesMax);
  const more = texts.length - shown.length;
  return [...shown, ...(more > 0 ? [`${more} more`] : [])].join(separator);
}
