import type { Peer } from "../ports/ports.ts";
import type { Duty, DutyContext, DutyResult } from "./duty.ts";

/** Where a region's nodes note which format of records they read; `@holdfast/redis` has one. */
export interface FormatRecords {
  /** Undefined before the store was reached. */
  formats(): { readonly required: number; readonly common: number } | undefined;
  /** False where a recently heard node does not read it. */
  requireFormat(format: number, epoch: number): Promise<boolean>;
}

export interface AgreeFormatOptions {
  readonly store: FormatRecords;
  readonly peers: readonly Pick<Peer, "state" | "hello">[];
  /** The newest that this release reads and writes. */
  readonly newest: number;
}

const everyMs = 5_000;

/** Requires the newest format of records of every node, once every node of every region reads it; then it is written. */
export class AgreeFormat implements Duty {
  readonly name = "agree-format";
  readonly everyMs = everyMs;
  readonly #options: AgreeFormatOptions;

  constructor(options: AgreeFormatOptions) {
    this.#options = options;
  }

  async run({ epoch }: DutyContext): Promise<DutyResult> {
    const { store, peers, newest } = this.#options;
    const known = store.formats();
    if (known === undefined || known.required >= newest) return { done: 0, left: 0 };
    if (known.common < newest) return { done: 0, left: 1 };
    for (const peer of peers) {
      if (peer.state() === "retired") continue;
      if ((await peer.hello()).recordFormat < newest) return { done: 0, left: 1 };
    }
    const agreed = await store.requireFormat(newest, epoch);
    return agreed ? { done: 1, left: 0 } : { done: 0, left: 1 };
  }
}
