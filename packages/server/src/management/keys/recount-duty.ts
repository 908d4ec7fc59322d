import { type Observer, type OwnStore, sysPartition } from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "@holdfast/regions";

/** What counting anew needs. */
export interface RecountOptions {
  readonly own: Pick<OwnStore, "countsIn" | "recount">;
  readonly observe: Observer;
  readonly monotonicMs: () => number;
}

const everyMs = 10_000;
const dayMs = 86_400_000;
/** Steps of one run: others have their turn between. */
const stepsMax = 200;

/**
 * Counts the objects by state anew: at once where a store's records were never counted, or one was repaired, and all of
 * them once a day, so that nothing rests on the numbers having been kept right.
 */
export class Recount implements Duty {
  readonly name = "recount";
  readonly everyMs = everyMs;
  readonly #options: RecountOptions;
  /** When each partition's counting ended: monotonic. */
  readonly #countedMs = new Map<number, number>();

  constructor(options: RecountOptions) {
    this.#options = options;
  }

  /** See `Duty.run`. */
  readonly run = async (context: DutyContext): Promise<DutyResult> => {
    let done = 0;
    for (let partition = 0; partition <= sysPartition; partition++) {
      while (context.active() && (await this.#isDue(partition))) {
        const step = await this.#step(partition);
        done += step.done;
        if (step.left === 0) break;
        if (done >= stepsMax * 128) return { done, left: step.left };
      }
      if (!context.active()) break;
    }
    return { done, left: 0 };
  };

  async #isDue(partition: number): Promise<boolean> {
    const { own, monotonicMs } = this.#options;
    if ((await own.countsIn(partition)) === undefined) return true;
    const countedMs = this.#countedMs.get(partition);
    // A new leader's first round is spread over the day, so that elections cost nothing.
    if (countedMs === undefined) {
      this.#countedMs.set(partition, monotonicMs() - (dayMs * partition) / (sysPartition + 1));
      return false;
    }
    return monotonicMs() - countedMs >= dayMs;
  }

  async #step(partition: number) {
    const { own, observe, monotonicMs } = this.#options;
    const step = await own.recount(partition);
    if (step.left === 0) this.#countedMs.set(partition, monotonicMs());
    if (step.wrong > 0) {
      const message = `partition ${partition}: ${step.wrong} counts of objects by state were wrong and are set right`;
      observe({ type: "warning", message });
    }
    return step;
  }
}
