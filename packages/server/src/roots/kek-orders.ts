import { timingSafeEqual } from "node:crypto";
import { everWrapped, type ManagedObject, readKekRecord } from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import type { RegionKeys } from "@holdfast/regions";

/** How long an order lets the other region wrap a KEK again. */
export const orderMs = 3_600_000;

/** An order of this region: that region may get this KEK although it has a wrap of it. */
interface KekOrder {
  readonly kekId: string;
  readonly asking: string;
  /** Milliseconds since the epoch. */
  readonly untilMs: number;
}

export interface KekOrdersOptions {
  readonly region: string;
  readonly own: Pick<RedisStore, "localValue" | "setLocalValue" | "storeId">;
  /** The present ones. */
  readonly keys: () => Pick<RegionKeys, "localMac">;
  readonly wallMs: () => number;
}

/** By how much the clocks of the region's machines may differ. */
const skewMs = 60_000;
const name = "kek-orders";
const line = /^([0-9a-f-]{36}) ([a-z0-9-]{1,32}) (\d{1,15})$/;

/**
 * The orders of this region, in its own store: no other region can give one. A MAC under the region key proves each list, so
 * that writing to Redis gives none either.
 */
export class KekOrders {
  readonly #options: KekOrdersOptions;
  /** The last list that proved itself: an order is not taken back, so that n KEKs do not need n readings of it. */
  #known: readonly KekOrder[] = [];

  constructor(options: KekOrdersOptions) {
    this.#options = options;
  }

  /** Whether an order of the last hour names this KEK and this region. */
  async allows(kekId: string, asking: string): Promise<boolean> {
    const isOrdered = () =>
      this.#known.some(
        (order) => order.kekId === kekId && order.asking === asking && this.#lasts(order),
      );
    if (isOrdered()) return true;
    this.#known = this.#read(await this.#options.own.localValue(name));
    return isOrdered();
  }

  /** Orders each of these KEKs for a region, beside what is ordered already; false if somebody else did at the same time. */
  async give(keks: readonly string[], asking: string): Promise<boolean> {
    const { own, wallMs } = this.#options;
    const read = await own.localValue(name);
    const untilMs = Math.floor(wallMs()) + orderMs;
    const others = this.#read(read).filter(
      (order) => order.asking !== asking || !keks.includes(order.kekId),
    );
    const fresh = keks.map((kekId) => ({ kekId, asking, untilMs }));
    return await own.setLocalValue(name, read, this.#written([...others, ...fresh]));
  }

  #written(orders: readonly KekOrder[]): string {
    const lines = orders.map(({ kekId, asking, untilMs }) => `${kekId} ${asking} ${untilMs}`);
    const text = lines.join("\n");
    return `${this.#mac(text).toString("base64")}\n${text}`;
  }

  /** The orders that have not ended; none if the list does not prove itself. */
  #read(value: string): readonly KekOrder[] {
    const end = value.indexOf("\n");
    if (end < 0) return [];
    const mac = Buffer.from(value.slice(0, end), "base64");
    const text = value.slice(end + 1);
    const wanted = this.#mac(text);
    if (mac.length !== wanted.length || !timingSafeEqual(mac, wanted)) return [];
    return text.split("\n").flatMap((each) => {
      const [, kekId = "", asking = "", until = ""] = line.exec(each) ?? [];
      const order = { kekId, asking, untilMs: Number(until) };
      return this.#lasts(order) ? [order] : [];
    });
  }

  /** A clock that was put back does not make an order last longer. */
  #lasts({ untilMs }: KekOrder): boolean {
    const nowMs = this.#options.wallMs();
    return untilMs > nowMs && untilMs <= nowMs + orderMs + skewMs;
  }

  #mac(text: string): Buffer {
    const { region, own, keys } = this.#options;
    return keys().localMac(name, `${region} ${own.storeId ?? ""}\n${text}`);
  }
}

/** The KEKs that a region lost with a root key, and those of which it has no valid wrap any more, whichever root key made it. */
export function lostKeks(
  records: readonly ManagedObject[],
  region: string,
  root: string,
): {
  readonly lost: readonly string[];
  readonly unwrapped: readonly string[];
  readonly roots: ReadonlySet<string>;
} {
  const lost: string[] = [];
  const unwrapped: string[] = [];
  const roots = new Set<string>();
  for (const record of records) {
    const kek = readKekRecord(record)?.kek;
    if (kek === undefined || kek.wraps.length === 0) continue;
    const wrap = kek.wraps.find((each) => each.region === region);
    if (wrap !== undefined) roots.add(wrap.rootOfTrust);
    if (wrap?.rootOfTrust === root) lost.push(kek.id);
    if (wrap === undefined && everWrapped(record, region)) unwrapped.push(kek.id);
  }
  return { lost, unwrapped, roots };
}
