import type { Ids, Timers } from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import type { LeaderLock } from "../../leader/duty.ts";

interface Sleeper {
  readonly atMs: number;
  readonly resolve: () => void;
}

/** Time that passes only when `run` says so, for tests. */
export class VirtualTime implements Timers {
  #nowMs = 0;
  #sleepers: Sleeper[] = [];

  readonly wallMs = (): number => 1_700_000_000_000 + this.#nowMs;
  readonly monotonicMs = (): number => this.#nowMs;
  readonly sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const sleeper = { atMs: this.#nowMs + ms, resolve };
      const abort = (): void => {
        this.#sleepers = this.#sleepers.filter((each) => each !== sleeper);
        reject(new Error("aborted"));
      };
      if (signal?.aborted === true) return abort();
      signal?.addEventListener("abort", abort, { once: true });
      this.#sleepers.push(sleeper);
    });

  /** Lets `ms` pass, everything in its order. */
  async run(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (;;) {
      const [next] = this.#sleepers.toSorted((a, b) => a.atMs - b.atMs);
      if (next === undefined || next.atMs > untilMs) break;
      this.#sleepers = this.#sleepers.filter((each) => each !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.resolve();
      await settle();
    }
    this.#nowMs = untilMs;
  }
}

/** Lets everything happen that needs no time. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A lock with a time to live that several nodes ask for, for tests. */
export class VirtualLock {
  readonly #timers: Timers;
  #holder: string | undefined;
  #untilMs = 0;
  /** The lock masters cannot be asked. */
  away = false;
  /** How long their answers are under way. */
  answerMs = 0;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  get holder(): string | undefined {
    return this.#timers.monotonicMs() < this.#untilMs ? this.#holder : undefined;
  }

  async #given(ttlMs: number): Promise<true> {
    this.#untilMs = this.#timers.monotonicMs() + ttlMs;
    if (this.answerMs > 0) await this.#timers.sleep(this.answerMs);
    return true;
  }

  for(node: string): LeaderLock {
    return {
      acquire: async (ttlMs) => {
        if (this.away || this.holder !== undefined) return false;
        this.#holder = node;
        return await this.#given(ttlMs);
      },
      extend: async (ttlMs) => {
        if (this.away || this.holder !== node) return false;
        return await this.#given(ttlMs);
      },
      release: async () => {
        if (!this.away && this.holder === node) this.#untilMs = 0;
      },
    };
  }
}

/** A process that can be stopped (SIGSTOP): its clock runs, and its code does not. */
export class VirtualProcess {
  readonly timers: Timers;
  #stopped: Promise<void> | undefined;
  #resume: () => void = () => undefined;

  constructor(time: Timers) {
    this.timers = {
      wallMs: time.wallMs,
      monotonicMs: time.monotonicMs,
      sleep: async (ms, signal) => {
        await time.sleep(ms, signal);
        await this.running();
      },
    };
  }

  stop(): void {
    this.#stopped = new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  resume(): void {
    this.#stopped = undefined;
    this.#resume();
  }

  async running(): Promise<void> {
    while (this.#stopped !== undefined) await this.#stopped;
  }

  /** The lock as this process uses it: requests and answers wait while it is stopped. */
  lock(lock: LeaderLock): LeaderLock {
    const asked = async <Result>(work: () => Promise<Result>): Promise<Result> => {
      await this.running();
      const result = await work();
      await this.running();
      return result;
    };
    return {
      acquire: (ttlMs) => asked(() => lock.acquire(ttlMs)),
      extend: (ttlMs) => asked(() => lock.extend(ttlMs)),
      release: () => asked(() => lock.release()),
    };
  }
}

/** Identifiers and bytes that are the same in every run. */
export function countedIds(): Ids {
  let count = 0;
  const next = (): number => {
    count += 1;
    return count;
  };
  return {
    uuid: () => `00000000-0000-4000-8000-${next().toString(16).padStart(12, "0")}`,
    randomBytes: (length) => Uint8Array.from({ length }, () => (next() * 37) & 0xff),
  };
}

/** A region's own store with an instance that is open. */
export async function openStore(
  options: ConstructorParameters<typeof MemoryOwnStore>[0] = {},
): Promise<MemoryOwnStore> {
  const store = new MemoryOwnStore(options);
  await store.instances.ensure("i", "i");
  return store;
}
