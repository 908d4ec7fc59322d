import { randomBytes, randomUUID } from "node:crypto";
import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import type { Ids, Timers } from "@holdfast/engine";

/** A process's environment variables. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a command uses of the machine that it runs on. */
export interface Machine {
  readonly environment: Environment;
  readonly clock: Timers;
  readonly ids: Ids;
}

/** The machine's clocks and sleep. */
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

/**
 * This machine. Only the files that assemble a program use it (`test/tidy.test.ts` names them); all
 * others are passed what they need.
 */
export const machine: Machine = {
  environment: process.env,
  clock: systemClock,
  ids: systemIds,
};
