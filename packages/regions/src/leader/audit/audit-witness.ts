import {
  type AuditLog,
  isSignedBy,
  MerkleNodes,
  MerkleRange,
  type NoteKey,
  type Observer,
  readCheckpointNote,
  readRange,
  readSigned,
  type SignedHeads,
  sizeOfHeads,
  splitLines,
  sysPartition,
  type Timers,
  treeOfHeads,
  treeTexts,
  type WitnessedHeads,
  writeSigned,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "../duty.ts";
import { giveWay } from "../pace.ts";
import type { AuditTree } from "./audit-tree.ts";
import { keptLeaves } from "./kept-leaves.ts";

/** What a witness answers to a checkpoint: signature lines, its own size if that is not `old`, or that it disagrees. */
export type WitnessAnswer =
  | { readonly lines: string }
  | { readonly size: number }
  | { readonly disagrees: string };

/** A witness (C2SP tlog-witness). */
export interface Witness {
  readonly name: string;
  readonly key: NoteKey;
  /** Rejects within a bounded time where it cannot be asked, or refuses for another reason. */
  add(request: WitnessRequest, signal: AbortSignal): Promise<WitnessAnswer>;
}

/** What a witness is asked to cosign. */
export interface WitnessRequest {
  /** The size that it cosigned last. */
  readonly old: number;
  readonly proof: readonly Uint8Array[];
  readonly note: string;
}

export interface AuditWitnessOptions {
  readonly log: AuditLog;
  readonly tree: Pick<AuditTree, "alone">;
  readonly witness: Witness;
  readonly timers: Timers;
  readonly observe: Observer;
}

const witnessEveryMs = 3_000;

/** What the store shows, of this log only. */
interface Found {
  readonly last: SignedHeads;
  /** What the witness cosigned last. */
  readonly known: WitnessedHeads | undefined;
  readonly asked: WitnessedHeads | undefined;
}

/** Has a witness cosign the log's last step. One that is out delays nothing else. */
export class AuditWitness implements Duty {
  readonly name: string;
  readonly everyMs = witnessEveryMs;
  readonly #options: AuditWitnessOptions;
  #behindSinceMs: number | undefined;
  /** The leaves since the size that it cosigned last: a witness that is out for long costs no more than another. */
  #since: MerkleRange | undefined;
  #told = "";

  constructor(options: AuditWitnessOptions) {
    this.#options = options;
    this.name = `audit-witness-${options.witness.name}`;
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const { timers } = this.#options;
    const startedMs = timers.monotonicMs();
    const found = await this.#find();
    if (found === undefined) return { done: 0, left: 0 };
    const size = sizeOfHeads(found.last);
    const had = sizeOf(found.known);
    const behind = size - had;
    if (behind === 0) {
      this.#report({ ok: true, size, behind }, startedMs);
      return { done: 0, left: 0 };
    }
    this.#behindSinceMs ??= startedMs;
    try {
      const known = (await this.#recovered(found, context)) ?? found.known;
      const last = await this.#asking(context);
      if (last !== undefined && sizeOfHeads(last) !== sizeOf(known)) {
        await this.#keep(last, await this.#cosigned(last, known, context.signal), context);
      }
    } catch (cause) {
      if (!context.signal.aborted) this.#report({ ok: false, size, behind, cause }, startedMs);
      throw cause;
    }
    this.#report({ ok: true, size, behind: 0 }, startedMs);
    return { done: behind, left: 0 };
  }

  /** The last step, and what the store knows of the witness; undefined without a step. */
  async #find(): Promise<Found | undefined> {
    const { log, witness } = this.#options;
    const [text, ...texts] = await log.tree.texts([
      treeTexts.last,
      ...[treeTexts.witness(witness.name), treeTexts.asked(witness.name)],
    ]);
    if (text === undefined) return undefined;
    const last = readSigned(text);
    const [known, asked] = texts.map((each) => {
      const signed = each === undefined ? undefined : readSigned(each);
      return signed !== undefined && originOf(signed) === originOf(last) ? signed : undefined;
    });
    return { last, known, asked };
  }

  /** What it cosigned when it was asked last, if its answer was lost: leaves since then may be gone. */
  async #recovered(
    { known, asked }: Found,
    context: DutyContext,
  ): Promise<WitnessedHeads | undefined> {
    if (asked === undefined || sizeOfHeads(asked) <= sizeOf(known)) return undefined;
    const request = { old: sizeOfHeads(asked), proof: [], note: asked.note };
    const answer = await this.#options.witness.add(request, context.signal);
    if (!("lines" in answer)) return undefined;
    return await this.#keep(asked, this.#noteWith(asked, answer.lines), context);
  }

  /** Notes the last step, before it is asked for: what is removed from then on is kept as its range. */
  #asking({ epoch }: DutyContext): Promise<SignedHeads | undefined> {
    const { log, tree, witness } = this.#options;
    return tree.alone(async () => {
      const { last } = (await this.#find()) ?? {};
      if (last === undefined) return undefined;
      const fields = new Map([[treeTexts.asked(witness.name), writeSigned(last)]]);
      await log.tree.write({ fields }, epoch);
      return last;
    });
  }

  /** Writes down what it cosigned, with what was removed since it was asked. */
  #keep(
    { before, heads }: SignedHeads,
    note: string,
    { epoch }: DutyContext,
  ): Promise<WitnessedHeads> {
    const { log, tree, witness } = this.#options;
    return tree.alone(async () => {
      const { asked } = (await this.#find()) ?? {};
      const since = sizeOf(asked) === before.end + 1 ? asked?.since : undefined;
      const signed = { before, heads, note, since };
      const fields = new Map([[treeTexts.witness(witness.name), writeSigned(signed)]]);
      await log.tree.write({ fields }, epoch);
      return signed;
    });
  }

  /** The checkpoint with the witness's signature. */
  async #cosigned(
    last: SignedHeads,
    known: WitnessedHeads | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const { witness } = this.#options;
    const size = sizeOfHeads(last);
    let answer: WitnessAnswer | undefined;
    let old = known === undefined ? 0 : sizeOfHeads(known);
    const cutOff = (had: number): Error =>
      this.#disagrees(`has cosigned ${had} leaves, and the store's log has ${size}`);
    if (old > size) throw cutOff(old);
    // It may have cosigned a step whose answer was lost: then it says which one.
    for (let tries = 0; tries < 2; tries += 1) {
      const proof = old === size ? [] : await this.#proof(old, size, known);
      answer = await witness.add({ old, proof, note: last.note }, signal);
      if (!("size" in answer)) break;
      if (answer.size > size) throw cutOff(answer.size);
      old = answer.size;
    }
    if (answer === undefined || "size" in answer)
      throw new Error("it names another size each time");
    if ("disagrees" in answer) throw this.#disagrees(answer.disagrees);
    return this.#noteWith(last, answer.lines);
  }

  /** A checkpoint with the witness's signature from its answer. */
  #noteWith({ note }: SignedHeads, answer: string): string {
    const { text = "" } = readCheckpointNote(note) ?? {};
    const own = (splitLines(answer) ?? []).find((line) => {
      return isSignedBy({ text, lines: [line] }, this.#options.witness.key);
    });
    if (own === undefined) throw new Error("its answer is not signed by its configured key");
    return note + own;
  }

  async #proof(
    old: number,
    size: number,
    known: WitnessedHeads | undefined,
  ): Promise<readonly Uint8Array[]> {
    if (old === 0) return [];
    const isKnown = known !== undefined && old === sizeOfHeads(known);
    const before = isKnown ? treeOfHeads(known) : await this.#base();
    if (before.end > old) throw new Error(`its size ${old} is not kept any more`);
    await this.#extend(before, old);
    const cached = this.#since?.begin === old ? this.#since : undefined;
    this.#since = cached ?? (isKnown ? known.since : undefined) ?? MerkleRange.empty(old);
    await this.#extend(this.#since, size);
    const nodes = new MerkleNodes();
    nodes.add(before);
    nodes.add(this.#since);
    return nodes.consistency(old, size);
  }

  /** The range of the leaves that are removed. */
  async #base(): Promise<MerkleRange> {
    const [text] = await this.#options.log.tree.texts([treeTexts.base]);
    return text === undefined ? MerkleRange.empty() : readRange(text);
  }

  /** Appends the stored leaves up to `size`, which is the end of a step. */
  async #extend(range: MerkleRange, size: number): Promise<void> {
    const { log, timers } = this.#options;
    if (range.end < size) {
      for await (const { leaves } of keptLeaves(log.tree, range.end)) {
        for (const { hash } of leaves) range.append(hash);
        if (range.end >= size) break;
        await giveWay(timers);
      }
    }
    if (range.end !== size) throw new Error(`the store's audit log has no step of ${size} leaves`);
  }

  /** Not a failure that passes: somebody removed or changed what was cosigned. */
  #disagrees(says: string): Error {
    const { witness, observe } = this.#options;
    const reason = `witness ${witness.name} ${says}`;
    if (this.#told !== reason) observe({ type: "auditFault", partition: sysPartition, reason });
    this.#told = reason;
    return new Error(reason);
  }

  #report(
    result: {
      readonly ok: boolean;
      readonly size: number;
      readonly behind: number;
      readonly cause?: unknown;
    },
    startedMs: number,
  ): void {
    const { witness, observe, timers } = this.#options;
    const nowMs = timers.monotonicMs();
    if (result.behind === 0) this.#behindSinceMs = undefined;
    const lagMs = nowMs - (this.#behindSinceMs ?? nowMs);
    const durationMs = nowMs - startedMs;
    observe({ type: "auditWitness", witness: witness.name, durationMs, lagMs, ...result });
  }
}

function sizeOf(signed: SignedHeads | undefined): number {
  return signed === undefined ? 0 : sizeOfHeads(signed);
}

function originOf({ note }: SignedHeads): string | undefined {
  return readCheckpointNote(note)?.origin;
}
