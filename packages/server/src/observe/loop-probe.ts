import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import type { Health } from "./health.ts";

const everyMs = 1000;
const resolutionMs = 20;
/** With such a delay, a client waits longer than it would take to try the next endpoint. */
const lateMs = 1000;

/** Measures the delay of the event loop, and reports it to health. */
export class LoopProbe {
  readonly #health: Pick<Health, "note">;
  readonly #delays: IntervalHistogram;
  readonly #timer: NodeJS.Timeout;

  constructor(health: Pick<Health, "note">, intervalMs: number = everyMs) {
    this.#health = health;
    this.#delays = monitorEventLoopDelay({ resolution: resolutionMs });
    this.#delays.enable();
    this.#timer = setInterval(() => this.look(), intervalMs).unref();
  }

  /** Reports the worst delay since the last call. */
  look(): void {
    const ms = Math.max(0, Math.round(this.#delays.max / 1e6 - resolutionMs));
    this.#delays.reset();
    this.#health.note({ eventLoop: { ok: ms < lateMs, reason: `${ms} ms late at worst` } });
  }

  close(): void {
    clearInterval(this.#timer);
    this.#delays.disable();
  }
}
