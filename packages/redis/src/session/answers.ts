import { StoreUnavailable } from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import type { PartitionHead } from "../connection/record-header.ts";
import { readPartitionHead } from "../connection/record-header.ts";
import { readReply } from "../connection/replies.ts";
import type { ScriptName } from "../connection/scripts.ts";
import { notInitialised, otherStore } from "./committer.ts";
import type { StoreContext, Tenure } from "./tenure.ts";
import type { Tenures } from "./tenures.ts";

/** What a script for reading answered: `number` and `rest` as its header says, without the head. */
export interface Answer {
  readonly tenure: Tenure;
  readonly number: number;
  readonly head: PartitionHead;
  readonly rest: readonly unknown[];
}

/** Answers of Redis that may be used: they came within the lease, from this store, and nothing can take them back. */
export class Answers {
  readonly #context: StoreContext;
  readonly #tenures: Tenures;

  constructor(context: StoreContext, tenures: Tenures) {
    this.#context = context;
    this.#tenures = tenures;
  }

  /** The tenure that may be read from. */
  async tenure(): Promise<Tenure> {
    return this.#tenures.now("read") ?? (await this.#tenures.require("read"));
  }

  /** Runs a script for reading; one tenure for those that belong together. Covering the answer is the caller's. */
  async ask(
    name: ScriptName,
    keys: readonly Argument[],
    args: readonly Argument[],
    tenure?: Tenure,
  ): Promise<Answer> {
    const used = tenure ?? (await this.tenure());
    const started = this.#now();
    const answer = await used.reading(({ connection }) =>
      connection.run(this.#context.scripts[name], keys, args),
    );
    const durationMs = this.#now() - started;
    this.#context.observe({ type: "storeCommand", command: name, durationMs });
    const { result, number, rest } = readReply(answer);
    if (result === "notInitialised") {
      const failure = notInitialised(used.address);
      used.end(failure);
      throw failure;
    }
    const head = readPartitionHead(rest[0] as Buffer | undefined);
    this.check(used, head);
    return { tenure: used, number, head, rest: rest.slice(1) };
  }

  /** Refuses an answer that came when the lease was over, or from an emptied or another store. */
  check(tenure: Tenure, head: PartitionHead | undefined): asserts head is PartitionHead {
    this.#tenures.assert(tenure, "read");
    if (head?.storeId === tenure.storeId) return;
    const failure = otherStore(tenure.address, tenure.storeId, head?.storeId);
    tenure.end(failure);
    throw failure;
  }

  /** Resolves when everything up to a partition's change number is covered. */
  async cover(
    tenure: Tenure,
    partition: number,
    head: PartitionHead,
    number: number,
  ): Promise<void> {
    const waited = number > Math.max(head.covered, tenure.covered.of(partition));
    this.#context.observe({ type: "coveredRead", waited });
    if (!waited) return;
    await tenure.committer.cover(partition, number);
    this.#tenures.assert(tenure, "read");
  }

  /** Resolves when everything that the tenure has answered so far is covered. */
  async coverAll(tenure: Tenure): Promise<void> {
    await tenure.committer.barrier();
    this.#tenures.assert(tenure, "read");
  }

  /** Refuses what came when the lease was over. */
  assert(tenure: Tenure): void {
    this.#tenures.assert(tenure, "read");
  }

  /** Names the process that counts, and its data. */
  replicationId({ storeId, runId }: Tenure): string {
    return `${storeId}-${runId}`;
  }

  #now(): number {
    return this.#context.lease.now().monotonicMs;
  }
}

/** Refuses a script's word that another leader has come. */
export function refuseDeposed(result: string, epoch: number): void {
  if (result !== "deposed") return;
  throw new StoreUnavailable("deposed", `epoch ${epoch} is over: the store has seen a higher one`);
}
