import type { Clock, ClockDoubt } from "./clock.ts";

/** The time that another clock showed, and when it did by this node's monotonic clock. */
export interface ClockReading {
  /** The clock's owner: the store or a region. A region has several clocks; the one nearest to this node's counts. */
  readonly of: string;
  readonly wallMs: number;
  readonly atMs: number;
}

/** How far another clock is from this node's; positive if this node's is ahead. */
export interface ClockOffset {
  readonly of: string;
  readonly aheadMs: number;
}

/** While clocks differ by more, no date is decided. */
const toleranceMs = 60_000;

/** A reading older than this does not count: its store or region cannot be reached. */
const readingAgeMaxMs = 30_000;

/**
 * Compares this node's wall clock with others. The monotonic clock measures the time since a reading, so that a jump of
 * the wall clock is noticed before the next reading.
 */
export class ClockCheck {
  readonly #clock: Clock;
  readonly #readings: () => readonly ClockReading[];

  constructor(clock: Clock, readings: () => readonly ClockReading[]) {
    this.#clock = clock;
    this.#readings = readings;
  }

  /** One offset for each owner of clocks with a recent reading: that of its clock nearest to this node's. */
  offsets(): readonly ClockOffset[] {
    const [wallMs, monotonicMs] = [this.#clock.wallMs(), this.#clock.monotonicMs()];
    const nearest = new Map<string, number>();
    for (const reading of this.#readings()) {
      if (monotonicMs - reading.atMs > readingAgeMaxMs) continue;
      const aheadMs = wallMs - (reading.wallMs + monotonicMs - reading.atMs);
      const known = nearest.get(reading.of) ?? Number.POSITIVE_INFINITY;
      if (Math.abs(aheadMs) < Math.abs(known)) nearest.set(reading.of, aheadMs);
    }
    return [...nearest].map(([of, aheadMs]) => ({ of, aheadMs }));
  }

  /** The time by the clock that is behind all others: no single clock can make something happen too early. */
  earliestMs(): number {
    const ahead = this.offsets().map(({ aheadMs }) => aheadMs);
    return this.#clock.wallMs() - Math.max(0, ...ahead);
  }

  /** See `Clock.doubt`. */
  doubt(): ClockDoubt | undefined {
    const offsets = this.offsets();
    const far = offsets.find(({ aheadMs }) => Math.abs(aheadMs) > toleranceMs);
    if (far === undefined) return undefined;
    const behindMs = Math.max(...offsets.map(({ aheadMs }) => -aheadMs));
    const seconds = Math.round(Math.abs(far.aheadMs) / 1_000);
    const side = far.aheadMs > 0 ? "ahead of" : "behind";
    return {
      latestSeconds: Math.floor((this.#clock.wallMs() + behindMs) / 1_000),
      reason: `this node's clock is ${seconds} s ${side} the clock of ${far.of}: no date is decided until they agree within 60 s`,
    };
  }
}
