import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import type { Health } from "./health.ts";

const everyMs = 1000;
const resolutionMs = 20;
/** A turn that late keeps a client waiting longer than it takes to try the next endpoint. */
const lateMs = 1000;

/** Measures how late the event loop's turns are, and reports it to health. */
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

  /** Reports the worst since the last look. */
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
