import { type OwnStore, StoreUnavailable, type Timers, withTimeout } from "@holdfast/engine";
import { reasonOf } from "../base/operator-error.ts";
import type { Health, PartState } from "../observe/health.ts";

type Read = Pick<OwnStore, "read">["read"];

const everyMs = 500;
/** One late answer may come from a busy machine, and its connection is replaced; a second one is reported. */
const failuresMin = 2;
/** An instance and a record that do not exist: the answer is short, but takes the same path as every read. */
const nobody = "00000000-0000-8000-8000-000000000000";

/**
 * Reads from the own store in the background and reports to health how long that took. The lease shows that changes
 * become durable; this probe shows that the connection for reads answers.
 */
export class StoreProbe {
  readonly #read: Read;
  readonly #health: Pick<Health, "note">;
  readonly #timeoutMs: number;
  readonly #timers: Pick<Timers, "monotonicMs" | "sleep">;
  readonly #timer: NodeJS.Timeout;
  #running = false;
  #failures = 0;

  constructor(
    store: Pick<OwnStore, "read">,
    health: Pick<Health, "note">,
    timers: Pick<Timers, "monotonicMs" | "sleep">,
    timeoutMs: number,
    intervalMs: number = everyMs,
  ) {
    this.#read = store.read.bind(store);
    this.#health = health;
    this.#timeoutMs = timeoutMs;
    this.#timers = timers;
    this.#timer = setInterval(() => void this.run(), intervalMs).unref();
  }

  /** Makes one probe, unless the one before has no answer yet. */
  async run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    const startedMs = this.#timers.monotonicMs();
    try {
      await withTimeout(this.#timers, this.#timeoutMs, this.#read(nobody, [nobody]));
      const ms = Math.round((this.#timers.monotonicMs() - startedMs) * 10) / 10;
      this.#failures = 0;
      this.#health.note({ roundTrip: { ok: true, reason: `${ms} ms` } });
    } catch (error) {
      const roundTrip = failed(error);
      this.#failures = roundTrip.ok ? 0 : this.#failures + 1;
      if (roundTrip.ok || this.#failures >= failuresMin) this.#health.note({ roundTrip });
    } finally {
      this.#running = false;
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/** Without a lease nothing is read, which the lease reports: this says nothing about the connection. */
function failed(error: unknown): PartState {
  const store = error instanceof StoreUnavailable ? error : undefined;
  if (store?.failure === "noLease") return { ok: true, reason: `not tried: ${reasonOf(error)}` };
  const kind = store === undefined ? "" : `${store.failure}: `;
  return { ok: false, reason: `${kind}${reasonOf(error)}` };
}
