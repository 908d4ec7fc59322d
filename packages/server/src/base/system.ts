import { randomBytes, randomUUID } from "node:crypto";
import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import type { Clock, Ids } from "@holdfast/engine";
import type { Timers } from "@holdfast/regions";

/** The machine's clocks. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

/** Identifiers and secret bytes from the machine's cryptographic source. */
export const systemIds: Ids = {
  uuid: () => randomUUID(),
  randomBytes: (length) => new Uint8Array(randomBytes(length)),
};

/** The machine's clocks and waiting. */
export const systemTimers: Timers = {
  ...systemClock,
  sleep: (ms, signal) => setTimeout(ms, undefined, signal && { signal }),
};
