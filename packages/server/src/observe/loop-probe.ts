import type { Health } from "./health.ts";
import type { Metrics } from "./metrics/metrics.ts";

const everyMs = 50;
const reportEveryMs = 1000;
/** With such a delay, a client waits longer than it would take to try the next endpoint. */
const lateMs = 1000;

/**
 * Measures the delay of the event loop, and reports it to health and metrics. Its timer also runs what the node does
 * several times a second: an idle process should wake rarely.
 */
export class LoopProbe implements Disposable {
  readonly #health: Pick<Health, "note">;
  readonly #metrics: Pick<Metrics, "late">;
  readonly #monotonicMs: () => number;
  readonly #timer: NodeJS.Timeout;
  readonly #listeners = new Set<() => void>();
  #tickedMs: number;
  #reportedMs: number;
  #worstMs = 0;

  constructor(
    health: Pick<Health, "note">,
    metrics: Pick<Metrics, "late">,
    monotonicMs: () => number,
  ) {
    this.#health = health;
    this.#metrics = metrics;
    this.#monotonicMs = monotonicMs;
    this.#tickedMs = monotonicMs();
    this.#reportedMs = this.#tickedMs;
    this.#timer = setInterval(() => this.#tick(), everyMs);
  }

  /** Calls `listener` twenty times a second; returns a function that stops it. */
  onTick(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const nowMs = this.#monotonicMs();
    const ms = Math.max(0, nowMs - this.#tickedMs - everyMs);
    this.#tickedMs = nowMs;
    this.#worstMs = Math.max(this.#worstMs, ms);
    this.#metrics.late(ms);
    if (nowMs - this.#reportedMs >= reportEveryMs) this.#report(nowMs);
    for (const listener of this.#listeners) listener();
  }

  /** Reports the worst delay since the last report. */
  #report(nowMs: number): void {
    const ms = Math.round(this.#worstMs);
    this.#reportedMs = nowMs;
    this.#worstMs = 0;
    this.#health.note({ eventLoop: { ok: ms < lateMs, reason: `${ms} ms late at worst` } });
  }
}
