import { randomBytes, randomUUID } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { Ids, Timers } from "@holdfast/engine";

/** A process's environment variables. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a command uses of the machine that it runs on. */
export interface Machine {
  readonly environment: Environment;
  readonly clock: Timers;
  readonly ids: Ids;
}

/**
 * Resolves after `ms`; rejects with the signal's reason when that is aborted before. An idle node sleeps dozens of times a
 * second, and Node's own promise of a timer costs twice as much with a signal: it makes an error with a stack.
 */
function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal === undefined) return new Promise((resolve) => void setTimeout(resolve, ms));
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

/** The machine's clocks and sleep. */
export const systemClock: Timers = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep,
};

/** Identifiers and secret bytes from the machine's cryptographic source. */
export const systemIds: Ids = {
  uuid: () => randomUUID(),
  randomBytes: (length) => new Uint8Array(randomBytes(length)),
};

/**
 * This machine. Only the files that assemble a program use it (`test/tidy.test.ts` names them); all
 * others are passed what they need.
 */
export const machine: Machine = {
  environment: process.env,
  clock: systemClock,
  ids: systemIds,
};
