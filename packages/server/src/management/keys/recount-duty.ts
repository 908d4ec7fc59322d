import {
  type InstanceCounts,
  type Observer,
  type StateCountStore,
  sysPartition,
  systemInstance,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "@holdfast/regions";

export interface RecountOptions {
  readonly own: Pick<StateCountStore, "countsIn" | "recount">;
  readonly observe: Observer;
  readonly monotonicMs: () => number;
}

const everyMs = 10_000;
const dayMs = 86_400_000;
/** The most steps of one run, so that the known numbers are reported soon. */
const stepsMax = 400;

/**
 * Reads the numbers of objects by state and month, and counts the objects again: at once where a store's records were
 * never counted, one was repaired or a number cannot be right, and all of them once a day, so that no error in the
 * numbers lasts.
 */
export class Recount implements Duty {
  readonly name = "recount";
  readonly everyMs = everyMs;
  readonly #options: RecountOptions;
  /** When the last recount of each partition ended: monotonic. */
  readonly #countedMs = new Map<number, number>();
  #counts: ReadonlyMap<string, InstanceCounts> = new Map();

  constructor(options: RecountOptions) {
    this.#options = options;
  }

  /** The numbers of every instance that has objects, as they were at the last run. */
  get counts(): ReadonlyMap<string, InstanceCounts> {
    return this.#counts;
  }

  /** See `Duty.run`. */
  readonly run = async (context: DutyContext): Promise<DutyResult> => {
    const counts = new Map<string, InstanceCounts>();
    let [done, left, steps] = [0, 0, 0];
    for (let partition = 0; partition <= sysPartition && context.active(); partition++) {
      const known = await this.#options.own.countsIn(partition);
      for (const [instance, its] of known ?? []) {
        if (instance !== systemInstance) counts.set(instance, its);
      }
      let more = known === undefined || this.#isDue(partition);
      while (more && steps < stepsMax && context.active()) {
        const step = await this.#step(partition);
        steps += 1;
        done += step.done;
        more = step.left > 0;
      }
      if (more) left += 1;
    }
    if (context.active()) this.#counts = counts;
    return { done, left };
  };

  #isDue(partition: number): boolean {
    const { monotonicMs } = this.#options;
    const countedMs = this.#countedMs.get(partition);
    if (countedMs !== undefined) return monotonicMs() - countedMs >= dayMs;
    // A new leader's first round is spread over the day, so that elections cost nothing.
    this.#countedMs.set(partition, monotonicMs() - (dayMs * partition) / (sysPartition + 1));
    return false;
  }

  async #step(partition: number) {
    const { own, observe, monotonicMs } = this.#options;
    const step = await own.recount(partition);
    if (step.left === 0) this.#countedMs.set(partition, monotonicMs());
    if (step.wrong > 0) {
      const message = `partition ${partition}: ${step.wrong} counts of objects by state were wrong and are corrected`;
      observe({ type: "warning", message });
    }
    return step;
  }
}
