import type { OwnStore, Timers } from "@holdfast/engine";
import { losingLevel } from "../../join/full.ts";
import type { Duty, DutyContext, DutyResult } from "../duty.ts";
import type { PeerReader } from "./reader.ts";

/** How soon the leader sees a node's request: the own store does not serve again sooner. */
const resyncEveryMs = 200;
const catchUpEveryMs = 500;
const digestsEveryMs = 60_000;
/** An operation of a node that died is over by then. A reservation that stays may itself wait until this store serves. */
const underWayMaxMs = 15_000;

/**
 * After an outage: pulls every partition up to a position that the other region gave after the request, and then tells the
 * nodes that the own store has everything that was acknowledged meanwhile.
 */
export class Resync implements Duty {
  readonly name = "resync";
  readonly everyMs = resyncEveryMs;
  readonly #own: OwnStore;
  readonly #readers: readonly PeerReader[];
  readonly #timers: Pick<Timers, "monotonicMs">;
  /** Region → agreed operations that held records there, and not here, when it was asked first; by the request. */
  readonly #underWay = new Map<string, UnderWay>();

  constructor(own: OwnStore, readers: readonly PeerReader[], timers: Pick<Timers, "monotonicMs">) {
    this.#own = own;
    this.#readers = readers;
    this.#timers = timers;
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const { asked, reached, lost } = await this.#own.levels();
    if (asked <= reached) return { done: 0, left: 0 };
    const held = await this.#own.reservations();
    const ownOperations = new Set(held.map(({ operation }) => operation));
    // A doubted store refuses copies that it takes once the doubt is over: until then it may lack what others have.
    const total = { done: 0, left: this.#own.doubted() ? 1 : 0 };
    for (const reader of present(this.#readers)) {
      // What was read before the outage may be lost with it: only the own store's cursors count.
      reader.forget();
      const position = await reader.peer.position();
      const others = position.operations.filter((each) => !ownOperations.has(each));
      add(total, await reader.pullAll(position, context));
      total.left += this.#waitsFor(reader.peer.region, asked, others);
      if (total.left > 0 || reached >= lost) continue;
      // The store lacked something when it lost its level, maybe before the cursors; this leader need not know why.
      reader.compareFirst();
      add(total, await reader.pullAll(await reader.peer.position(), context));
    }
    if (total.left > 0 || !context.active()) return { ...total, left: Math.max(1, total.left) };
    await this.#own.setLevel(asked, context.epoch);
    return total;
  }

  /**
   * How many agreed operations from before the request hold records in another region only. If the own store lost their
   * reservations, it would go on to show such a record as it was, while the other region already shows the decision.
   */
  #waitsFor(region: string, asked: number, operations: readonly string[]): number {
    const nowMs = this.#timers.monotonicMs();
    // A store that is emptied numbers its requests anew.
    const request = `${asked} of ${this.#own.storeId}`;
    const known = this.#underWay.get(region);
    const before = known?.request === request ? known : { operations, sinceMs: nowMs };
    const { sinceMs } = before;
    const left = before.operations.filter((each) => operations.includes(each));
    this.#underWay.set(region, { request, operations: left, sinceMs });
    return nowMs - sinceMs < underWayMaxMs ? left.length : 0;
  }
}

/** Agreed operations that were under way when a resync was requested. */
interface UnderWay {
  readonly request: string;
  readonly operations: readonly string[];
  /** When it was first seen, by the monotonic clock. */
  readonly sinceMs: number;
}

/** Reads what other regions changed, so that nothing depends on a push having arrived. */
export function catchUp(
  own: OwnStore,
  readers: readonly PeerReader[],
  everyMs = catchUpEveryMs,
): Duty {
  return eachUp("catch-up", everyMs, own, readers, async (reader, context) =>
    reader.pullAll(await reader.peer.position(), context),
  );
}

/** Compares what both regions have, so that nothing depends on the cursors either. */
export function digestCheck(
  own: OwnStore,
  readers: readonly PeerReader[],
  everyMs = digestsEveryMs,
): Duty {
  return eachUp("digests", everyMs, own, readers, (reader, context) => reader.compareAll(context));
}

function add(total: { done: number; left: number }, { done, left }: DutyResult): void {
  total.done += done;
  total.left += left;
}

/** A retired region is left out everywhere; one that is merely down is asked, and fails. */
function present(readers: readonly PeerReader[]): readonly PeerReader[] {
  return readers.filter(({ peer }) => peer.state() !== "retired");
}

/** Work at each region that is up, one after the other. */
function eachUp(
  name: string,
  everyMs: number,
  own: OwnStore,
  readers: readonly PeerReader[],
  work: (reader: PeerReader, context: DutyContext) => Promise<DutyResult>,
): Duty {
  const run = async (context: DutyContext): Promise<DutyResult> => {
    const total = { done: 0, left: 0 };
    for (const reader of readers) {
      if (reader.peer.state() === "up") add(total, await work(reader, context));
    }
    return total;
  };
  return { name, everyMs, run: (context) => losingLevel(own, () => run(context)) };
}
