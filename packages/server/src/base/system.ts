import { randomBytes, randomUUID } from "node:crypto";
import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import type { Ids, Timers } from "@holdfast/engine";

/** A process's environment variables. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a command gets of the machine that it runs on. */
export interface Machine {
  readonly environment: Environment;
  readonly clock: Timers;
  readonly ids: Ids;
}

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

/** This machine, for the files that put a program together (`test/tidy.test.ts` names them); all others get what they need. */
export const machine: Machine = {
  environment: process.env,
  clock: systemClock,
  ids: systemIds,
};
