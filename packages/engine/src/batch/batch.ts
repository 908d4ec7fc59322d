import { KmipError, type RequestMessage, type ResponseItem } from "@holdfast/kmip";
import { BatchEvidence } from "./batch-evidence.ts";
import { BatchItems } from "./batch-items.ts";
import type { BatchParts, Done, Origin } from "./batch-parts.ts";
import { eventsMerged } from "./item-audit.ts";
import { maybeMade } from "./working-set.ts";

/** How often an Undo batch is decided at most while other writers are faster. */
const attemptsMax = 8;

/**
 * Carries out the items of a message in their order and answers them (KMIP 2.1, 8 and 9.6; KMIP 1.4, 11.43). With
 * `refusal`, every item is refused with it, as the continuation option requires.
 */
export async function runBatch(
  parts: BatchParts,
  message: RequestMessage,
  origin: Origin,
  refusal?: KmipError,
): Promise<readonly ResponseItem[]> {
  const batch = (): Batch => new Batch(parts, message, origin, refusal);
  if (message.header.batchErrorContinuationOption !== "Undo") return await batch().inOrder();
  let doubt = false;
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    const answers = await batch().undoable(doubt);
    if (typeof answers !== "string") return answers;
    doubt ||= answers === "doubt";
  }
  return batch().busy(doubt);
}

class Batch {
  readonly #message: RequestMessage;
  readonly #evidence: BatchEvidence;
  readonly #items: BatchItems;
  readonly #nowMs: number;

  constructor(parts: BatchParts, message: RequestMessage, origin: Origin, refusal?: KmipError) {
    this.#message = message;
    this.#nowMs = parts.clock.monotonicMs();
    this.#evidence = new BatchEvidence(parts, message, origin);
    this.#items = new BatchItems(parts, message, origin, this.#evidence, refusal);
  }

  /** Stop and Continue: each item takes effect at once and is never undone. */
  async inOrder(): Promise<readonly ResponseItem[]> {
    const answers: ResponseItem[] = [];
    const goesOn = this.#message.header.batchErrorContinuationOption === "Continue";
    for (const [position, item] of this.#message.items.entries()) {
      const done = await this.#items.carryOut(item, position);
      answers.push(done.answer);
      this.#evidence.report(done);
      if (done.answer.status === "OperationFailed" && !goesOn) break;
    }
    this.#evidence.handOver();
    return answers;
  }

  /**
   * Undo: all items or none. "again" when another writer was faster; "doubt" when that may have been this batch. With
   * `doubt`, an earlier attempt may have been made.
   */
  async undoable(doubt: boolean): Promise<readonly ResponseItem[] | "again" | "doubt"> {
    const all: Done[] = [];
    for (const [position, item] of this.#message.items.entries()) {
      const done = await this.#items.carryOut(item, position);
      all.push(done);
      if (done.answer.status === "OperationFailed") return this.#refused(all, doubt);
    }
    const failed = await this.#commit(all);
    if (typeof failed === "string") return failed;
    if (failed !== undefined) return this.#refused(failed, doubt);
    for (const done of all) this.#evidence.report(done);
    this.#evidence.handOver();
    return all.map(({ answer }) => answer);
  }

  /** The answers of an Undo batch for which another writer was faster at every attempt, of which one may have been made. */
  busy(doubt: boolean): readonly ResponseItem[] {
    const faster = new KmipError(
      "generalFailure",
      "cannot tell: too many concurrent changes of these objects",
    );
    const error = doubt ? maybeMade(faster) : faster;
    const [first] = this.#message.items;
    if (first === undefined) return [];
    const done = this.#items.failed(first, this.#evidence.begin(first), this.#nowMs, error);
    return this.#undone([done]);
  }

  /** Commits the staged changes; returns the items up to a refused one, or what `undoable` does about a conflict. */
  async #commit(all: readonly Done[]): Promise<readonly Done[] | "again" | "doubt" | undefined> {
    const reads = eventsMerged(
      all.flatMap(({ audit }) => (audit.staged ? [] : audit.outcomeEvents("success"))),
    );
    try {
      const outcome = await this.#items.objects.commit(reads);
      if (outcome === "again" || outcome === "doubt") return outcome;
      if (typeof outcome === "object") return this.#failedAt(all, outcome.position, outcome.error);
      if (outcome === "untouched" && !this.#evidence.isStrict) return undefined;
      if (outcome === "untouched") await this.#evidence.append(reads);
      for (const { audit } of all) audit.written = true;
      return undefined;
    } catch (error) {
      return this.#unknown(all, error);
    }
  }

  /** The store cannot tell whether it made the changes, so no item may be called undone. */
  #unknown(all: readonly Done[], error: unknown): readonly Done[] {
    return all.map((done, position) => this.#failedDone(done, position, error));
  }

  #refused(all: readonly Done[], doubt: boolean): readonly ResponseItem[] {
    return this.#undone(doubt ? this.#unknown(all, maybeMade()) : all);
  }

  #failedAt(all: readonly Done[], position: number, error: unknown): readonly Done[] {
    const done = all[position];
    if (done === undefined) return all;
    return [...all.slice(0, position), this.#failedDone(done, position, error)];
  }

  #failedDone(done: Done, position: number, error: unknown): Done {
    const item = this.#message.items[position];
    return item === undefined ? done : this.#items.failed(item, done.audit, done.startedMs, error);
  }

  /** Reports items that succeeded before another failed as undone: they changed only the overlay. */
  #undone(all: readonly Done[]): readonly ResponseItem[] {
    const answers = all.map((done): ResponseItem => {
      const { status } = done.answer;
      const answer: ResponseItem =
        status === "Success" ? { ...done.answer, status: "OperationUndone" } : done.answer;
      this.#evidence.report({ ...done, answer });
      return answer;
    });
    this.#evidence.handOver();
    return answers;
  }
}
