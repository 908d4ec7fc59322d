import { setImmediate } from "node:timers/promises";
import type { Handlers } from "@holdfast/admin";
import { type AuditLog, StoreUnavailable, type Timers } from "@holdfast/engine";
import { reasonOf } from "../../base/operator-error.ts";
import type { LogTrust } from "./verify-log.ts";
import { verifyStore } from "./verify-store.ts";

export interface AuditCheckOptions {
  readonly region: string;
  readonly node: string;
  readonly log: AuditLog;
  /** Whom the configuration believes, read anew for each check; undefined without a log. */
  readonly trust: () => LogTrust | undefined;
  readonly timers: Timers;
  /** Aborted when the node stops. */
  readonly signal: AbortSignal;
}

type Answer = Awaited<ReturnType<Handlers["readAuditCheck"]>>;

/** So many turns, then a rest: a check takes at most about half of the node's time. */
const turnsPerRest = 8;
const restMs = 5;
const linesMax = 101;
const lineLengthMax = 500;

/** Checks the trail in this region's store, as `holdfast audit verify` does, one check at a time; remembers the last one. */
export class AuditCheck {
  readonly #options: AuditCheckOptions;
  #state: Answer;

  constructor(options: AuditCheckOptions) {
    this.#options = options;
    const { region, node } = options;
    this.#state = { region, node, state: "none", entries: 0, of: 0, findings: [], notes: [] };
  }

  /** The routes of the check. */
  get handlers(): Pick<Handlers, "startAuditCheck" | "readAuditCheck"> {
    return {
      startAuditCheck: async () => this.#start(),
      readAuditCheck: async () => this.#state,
    };
  }

  /** Begins a check, unless one runs. */
  #start(): Answer {
    if (this.#state.state === "running") return this.#state;
    const { region, node } = this.#options;
    this.#state = {
      state: "running",
      ...{ region, node, startedAt: this.#now(), entries: 0, of: 0, findings: [], notes: [] },
    };
    void this.#run();
    return this.#state;
  }

  async #run(): Promise<void> {
    const { log, trust, timers, signal } = this.#options;
    let turns = 0;
    try {
      const verdict = await verifyStore(log, trust(), {
        progress: (entries, of) => {
          this.#state = { ...this.#state, entries, of: Math.max(entries, of) };
        },
        turn: async () => {
          signal.throwIfAborted();
          turns += 1;
          await (turns % turnsPerRest === 0 ? timers.sleep(restMs) : setImmediate());
        },
      });
      const { entries, unchained, unwitnessed } = verdict;
      const [findings, notes] = [bounded(verdict.findings), bounded(verdict.notes)];
      const state = findings.length === 0 ? "whole" : "faulty";
      this.#end({ state, entries, of: entries, unchained, unwitnessed, findings, notes });
    } catch (error) {
      const reason =
        error instanceof StoreUnavailable ? "the store cannot be read now" : reasonOf(error);
      this.#end({ state: "failed", reason: reason.slice(0, lineLengthMax) });
    }
  }

  #end(ended: Partial<Answer>): void {
    this.#state = { ...this.#state, ...ended, endedAt: this.#now() };
  }

  #now(): string {
    return new Date(this.#options.timers.wallMs()).toISOString();
  }
}

function bounded(lines: readonly string[]): string[] {
  return lines.slice(0, linesMax).map((line) => line.slice(0, lineLengthMax));
}
