import { randomBytes, randomUUID } from "node:crypto";
import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import type { Ids, Timers } from "@holdfast/engine";

/** The machine's clocks and waiting. */
export const systemClock: Timers = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) => setTimeout(ms, undefined, signal && { signal }),
};

/** Identifiers and secret bytes from the machine's cryptographic source. */
export const systemIds: Ids = {
  uuid: () => randomUUID(),
  randomBytes: (length) => new Uint8Array(randomBytes(length)),
};
