import { Violation } from "./checker.ts";
import type { SimNode } from "./node.ts";

/** The times of the nodes' check of stores: shorter than in the product, since a history is short. */
export const storesTimes = { heardMs: 1_200, lastsMs: 3_000, gapMs: 1_500, againMs: 6_000 };
export const storesEveryMs = 250;
/** A node that did not answer for longer was not heard all the time. */
const steadyMs = 800;
/** By then a node reports two stores that it heard all the time. */
const knownMs = storesTimes.lastsMs + steadyMs + 2 * storesEveryMs;
/** By then the nodes of the region itself do, which hear it from that node. */
const toldMs = knownMs + steadyMs;
/** A report may begin so long after the last answer of a node with another Redis. */
const lateMs = 2 * storesTimes.heardMs + storesTimes.gapMs;

/** For how long one process has answered another, with the same Redis in use. */
interface Streak {
  readonly sinceMs: number;
  readonly lastMs: number;
  readonly answers: unknown;
  readonly asks: unknown;
}

/** Checks that two stores of one region are reported in time, and that nothing else is. */
export class StoresChecker {
  readonly #nodes: readonly SimNode[];
  readonly #nowMs: () => number;
  readonly #failed: (error: Violation) => void;
  readonly #streaks = new Map<SimNode, Map<SimNode, Streak>>();
  /** Process → the regions whose nodes use different stores, as it reports. */
  readonly #reports = new WeakMap<object, Set<string>>();
  /** Region → when one of its nodes last answered that used another Redis. */
  readonly #elsewhereMs = new Map<string, number>();

  constructor(nodes: readonly SimNode[], nowMs: () => number, failed: (error: Violation) => void) {
    this.#nodes = nodes;
    this.#nowMs = nowMs;
    this.#failed = failed;
  }

  /** A node answered one of the other region. */
  met(asking: SimNode, answering: SimNode): void {
    const now = this.#nowMs();
    const { life } = answering.machine;
    const usesStore = (answering.own?.state() ?? "none") !== "none";
    if (answering.isElsewhere) this.#elsewhereMs.set(answering.region, now);
    const streaks = this.#streaks.get(asking) ?? new Map<SimNode, Streak>();
    this.#streaks.set(asking, streaks);
    const before = streaks.get(answering);
    const asks = asking.machine.life;
    if (usesStore && life !== undefined && asks !== undefined) {
      const isSame = before?.answers === life && before.asks === asks;
      const sinceMs = isSame && now - before.lastMs <= steadyMs ? before.sinceMs : now;
      streaks.set(answering, { sinceMs, lastMs: now, answers: life, asks });
    } else streaks.delete(answering);
    this.#demand(asking, answering.region);
  }

  /** A node reports how many stores the nodes of a region use. */
  reported(name: string, region: string, stores: number): void {
    const node = this.#nodes.find(({ machine }) => machine.name === name);
    const life = node?.machine.life;
    if (life === undefined) return;
    const reports = this.#reports.get(life) ?? new Set();
    this.#reports.set(life, reports);
    if (stores === 1) {
      reports.delete(region);
      return;
    }
    reports.add(region);
    const agoMs = this.#nowMs() - (this.#elsewhereMs.get(region) ?? Number.NEGATIVE_INFINITY);
    if (agoMs <= lateMs) return;
    this.#failed(new Violation(`${name} reports two stores of region ${region}, which has one`));
  }

  /** A node that has long heard two stores of a region must report it, and so must the nodes that it answers. */
  #demand(asking: SimNode, region: string): void {
    const sinceMs = this.#differsSince(asking, region);
    if (sinceMs === undefined) return;
    const lastedMs = this.#nowMs() - sinceMs;
    if (lastedMs >= knownMs) this.#mustReport(asking, region);
    for (const node of this.#nodes.filter((each) => each.region === region)) {
      const heardMs = this.#streak(node, asking)?.sinceMs;
      if (heardMs === undefined) continue;
      if (Math.min(lastedMs, this.#nowMs() - heardMs) >= toldMs) this.#mustReport(node, region);
    }
  }

  #mustReport({ machine }: SimNode, region: string): void {
    const { life } = machine;
    if (life === undefined || this.#reports.get(life)?.has(region) === true) return;
    const missed = `${machine.name} does not report the two stores of region ${region}`;
    this.#failed(new Violation(missed));
  }

  /** Since when a node has heard both stores of a region all the time; undefined where it has not. */
  #differsSince(asking: SimNode, region: string): number | undefined {
    const heard = this.#nodes.filter((node) => node.region === region && !node.machine.frozen);
    const sinceOf = (elsewhere: boolean): number[] =>
      heard
        .filter((node) => node.isElsewhere === elsewhere)
        .flatMap((node) => this.#streak(asking, node)?.sinceMs ?? []);
    const [there, here] = [sinceOf(true), sinceOf(false)];
    if (there.length === 0 || here.length === 0) return undefined;
    return Math.max(Math.min(...there), Math.min(...here));
  }

  /** The streak of answers of one running process to another, if it goes on. */
  #streak(asking: SimNode, answering: SimNode): Streak | undefined {
    const streak = this.#streaks.get(asking)?.get(answering);
    if (streak === undefined || this.#nowMs() - streak.lastMs > steadyMs) return undefined;
    const runs = streak.asks === asking.machine.life && streak.answers === answering.machine.life;
    return runs && !asking.machine.frozen ? streak : undefined;
  }
}
