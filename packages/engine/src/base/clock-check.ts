import type { Clock, ClockDoubt } from "./clock.ts";

/** What another clock showed, and when that was by this node's monotonic clock. */
export interface ClockReading {
  /** Whose clock: the store's, or a region's. A region has several, of which the nearest counts. */
  readonly of: string;
  readonly wallMs: number;
  readonly atMs: number;
}

/** How far another clock is from this node's; positive where this node's is ahead. */
export interface ClockOffset {
  readonly of: string;
  readonly aheadMs: number;
}

/** Clocks that differ by more decide nothing. */
const toleranceMs = 60_000;

/** A clock that was not heard for so long does not count: its store or region cannot be reached. */
const readingAgeMaxMs = 30_000;

/**
 * Compares this node's wall clock with others. The monotonic clock adds the time since a reading, so that a jump of the
 * wall clock shows before the next reading.
 */
export class ClockCheck {
  readonly #clock: Clock;
  readonly #readings: () => readonly ClockReading[];

  constructor(clock: Clock, readings: () => readonly ClockReading[]) {
    this.#clock = clock;
    this.#readings = readings;
  }

  /** One offset for each owner of clocks that was heard lately; of its clocks the nearest counts. */
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
