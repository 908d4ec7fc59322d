import { randomBytes, randomUUID } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { Clock, Ids } from "@holdfast/engine";

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
