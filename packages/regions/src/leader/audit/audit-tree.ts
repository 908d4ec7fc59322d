import {
  type AuditEntry,
  type AuditHead,
  type AuditLeaf,
  type AuditLog,
  type AuditStanding,
  auditEntriesMax,
  type ChainPoint,
  chainGap,
  eventLeaf,
  headsHash,
  headsLeaf,
  leafHash,
  MerkleRange,
  type Observer,
  readCheckpointNote,
  readHeads,
  readRange,
  readSigned,
  type SignedHeads,
  StoreUnavailable,
  sizeOfHeads,
  type Timers,
  treeOfHeads,
  treeTexts,
  writeHeads,
  writeLeaves,
  writeRange,
  writeSigned,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "../duty.ts";
import { giveWay } from "../pace.ts";
import type { ChainedPart } from "./audit-chain.ts";
import { chainPoint, sameHash } from "./audit-points.ts";
import { keptLeaves } from "./kept-leaves.ts";

/** The key that signs a region's log, and what the log is called. */
export interface AuditSigner {
  readonly origin: string;
  /** Origins of logs that this one may take the place of: those of older keys. */
  readonly former: readonly string[];
  /** The checkpoint of a tree, signed. */
  sign(size: number, root: Uint8Array): string;
  /** Whether the log's own signature of a checkpoint is right. */
  isSigned(note: string): boolean;
}

export interface AuditTreeOptions {
  readonly log: AuditLog;
  readonly signer: AuditSigner;
  readonly timers: Timers;
  readonly observe: Observer;
  /** The witnesses' names: each needs what was removed since the size that it cosigned. */
  readonly witnesses: readonly string[];
  /** The most bytes of leaves that are kept. */
  readonly bytesMax: () => Promise<number>;
}

const treeEveryMs = 3_000;
const shortenEveryMs = 60_000;
/** Most entries that wait for the next step; what is beyond is read from the store. */
const offeredMax = 20_000;
/** Most leaves of one step, about: everything else waits while Redis takes them. */
const leavesPerStep = 4_000;
/** What a leaf needs in the store. */
const bytesPerLeaf = 40;

/**
 * The log over a region's audit trail: a Merkle tree whose leaves are the chained entries. Each step appends what was
 * chained since the last one, and a leaf with the heads of all partitions, and signs the new tree.
 */
export class AuditTree implements Duty {
  readonly name = "audit-tree";
  readonly everyMs = treeEveryMs;
  readonly #options: AuditTreeOptions;
  #turn: Promise<unknown> = Promise.resolve();
  #shortenedMs = Number.NEGATIVE_INFINITY;
  /** What was chained since the last step, by partition. */
  readonly #offered = new Map<number, ChainedPart[]>();
  #offeredCount = 0;
  /** The store and the size of the last step that this process made. */
  #signed: { readonly storeId: string; readonly size: number } | undefined;

  constructor(options: AuditTreeOptions) {
    this.#options = options;
  }

  /** Takes entries that were just chained: reading them again would cost more than their hashes. */
  offer(partition: number, part: ChainedPart): void {
    if (this.#offeredCount + part.entries.length > offeredMax) return;
    this.#offeredCount += part.entries.length;
    const parts = this.#offered.get(partition);
    if (parts === undefined) this.#offered.set(partition, [part]);
    else parts.push(part);
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const result = await this.alone(() => this.#append(context, new Map()));
    const { timers } = this.#options;
    if (context.active() && timers.monotonicMs() - this.#shortenedMs > shortenEveryMs) {
      await this.alone(() => this.#shorten(context));
      this.#shortenedMs = timers.monotonicMs();
    }
    return result;
  }

  /**
   * States in the log that entries of a partition up to this number will be removed. False if the log cannot be
   * written: then they should stay.
   */
  async announce(partition: number, removed: number, context: DutyContext): Promise<boolean> {
    const { observe } = this.#options;
    try {
      await this.alone(() => this.#append(context, new Map([[partition, removed]])));
      return true;
    } catch (cause) {
      if (cause instanceof StoreUnavailable && cause.failure === "deposed") throw cause;
      const message = "the audit log cannot state what retention removes, so that stays";
      observe({ type: "warning", message, cause });
      return false;
    }
  }

  /** Runs what changes the tree, one after the other. */
  alone<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #append(context: DutyContext, removed: ReadonlyMap<number, number>): Promise<DutyResult> {
    const { log } = this.#options;
    const last = await this.#last();
    const standings = await log.standings();
    const stated = last && readHeads(last.heads);
    const heads = new Map(stated?.heads ?? startOf(standings));
    const { leaves, left } = await this.#gather(standings, heads, context);
    for (const [partition, number] of removed) {
      const head = heads.get(partition);
      if (head === undefined || head.number < number) throw new Error("they are not in it yet");
      heads.set(partition, { ...head, removed: number });
    }
    if (last !== undefined && leaves.length === 0 && removed.size === 0) return { done: 0, left };
    const isDone = await this.#step(last, leaves, heads, context.epoch);
    return isDone ? { done: leaves.length, left } : { done: 0, left: leaves.length };
  }

  /** The leaves of what was chained since the last step; moves the heads. */
  async #gather(
    standings: readonly AuditStanding[],
    heads: Map<number, AuditHead>,
    { active }: DutyContext,
  ): Promise<{ readonly leaves: readonly AuditLeaf[]; readonly left: number }> {
    const leaves: AuditLeaf[] = [];
    let left = 0;
    for (const [partition, standing] of standings.entries()) {
      const behind = () => standing.head.number - (heads.get(partition)?.number ?? 0);
      if (behind() > 0 && leaves.length < leavesPerStep && active()) {
        leaves.push(...(await this.#take(partition, standing, heads)));
      }
      left += Math.max(0, behind());
    }
    return { leaves, left };
  }

  /** Appends leaves and heads, and signs. False if somebody else did. */
  async #step(
    last: SignedHeads | undefined,
    leaves: readonly AuditLeaf[],
    heads: ReadonlyMap<number, AuditHead>,
    epoch: number,
  ): Promise<boolean> {
    const { log, signer } = this.#options;
    const storeId = log.storeId ?? "";
    const before = last === undefined ? MerkleRange.empty() : treeOfHeads(last);
    const first = before.end;
    for (const { hash } of leaves) before.append(hash);
    const text = writeHeads({ storeId, heads });
    const tree = treeOfHeads({ before, heads: text, note: "" });
    const note = signer.sign(tree.end, tree.root());
    const run = [...leaves, { partition: headsLeaf, number: 0, hash: headsHash(text) }];
    const fields = new Map([
      [treeTexts.size, String(tree.end)],
      [treeTexts.last, writeSigned({ before, heads: text, note })],
    ]);
    const added = { leaves: { first, bytes: writeLeaves(run) }, fields };
    const write = last === undefined ? { ...added, anew: true } : { ...added, size: first };
    if (!(await log.tree.write(write, epoch))) return false;
    this.#signed = { storeId, size: tree.end };
    return true;
  }

  /** The last step; undefined if this log has not begun. */
  async #last(): Promise<SignedHeads | undefined> {
    const { log, signer } = this.#options;
    const [text] = await log.tree.texts([treeTexts.last]);
    const last = text === undefined ? undefined : readSigned(text);
    const { storeId, size = 0 } = this.#signed ?? {};
    if (storeId === log.storeId && size > (last === undefined ? 0 : sizeOfHeads(last))) {
      throw new StoreUnavailable("corrupt", "the store shows an earlier state of the audit log");
    }
    if (last === undefined) return undefined;
    const origin = readCheckpointNote(last.note)?.origin ?? "";
    if (signer.former.includes(origin)) return undefined;
    if (origin === signer.origin && signer.isSigned(last.note)) return last;
    if (origin === signer.origin) {
      throw new StoreUnavailable("corrupt", "the audit log's last step is not signed by its key");
    }
    throw new Error(
      `the store's audit log is ${origin}, and this node's key is of ${signer.origin}: give all nodes of the region the same audit.log.keyFile`,
    );
  }

  /** The leaves of a partition's next entries; moves its head. */
  async #take(
    partition: number,
    standing: AuditStanding,
    heads: Map<number, AuditHead>,
  ): Promise<readonly AuditLeaf[]> {
    const { removed = standing.base.number, number = 0, hash } = heads.get(partition) ?? {};
    const start: ChainPoint = { ...standing.base, ...(hash && { number, hash }) };
    const offered = this.#takeOffered(partition, start, standing.head);
    const { point, leaves } = offered ?? (await this.#read(partition, start, standing.head));
    heads.set(partition, { removed, number: point.number, hash: point.hash });
    return leaves;
  }

  /** The leaves of what was offered, if it follows. */
  #takeOffered(partition: number, start: ChainPoint, head: ChainPoint): Taken | undefined {
    const leaves: AuditLeaf[] = [];
    const parts = this.#offered.get(partition) ?? [];
    this.#offered.delete(partition);
    let point = start;
    for (const { from, entries, to } of parts) {
      this.#offeredCount -= entries.length;
      const follows = from.number === point.number && sameHash(from.hash, point.hash);
      if (!follows || to.number > head.number) continue;
      for (const entry of entries) leaves.push(leafOf(partition, entry));
      point = to;
    }
    return leaves.length === 0 ? undefined : { point, leaves };
  }

  /** The same from the store, with a look whether they are those that were chained. */
  async #read(partition: number, start: ChainPoint, head: ChainPoint): Promise<Taken> {
    const { log, observe } = this.#options;
    const range = { from: { after: start.number }, limit: auditEntriesMax, covered: false };
    const leaves: AuditLeaf[] = [];
    let point = start;
    for (const entry of await log.entries(partition, range)) {
      if (entry.number > head.number) break;
      if (entry.number !== point.number + 1) point = await this.#afterGap(partition, point, entry);
      point = chainPoint(point, entry);
      leaves.push(leafOf(partition, entry));
    }
    if (leaves.length === 0) point = head;
    if (point.number === head.number && !sameHash(point.hash, head.hash)) {
      const reason = `entries up to ${point.number} changed before they were in the log`;
      observe({ type: "auditFault", partition, reason });
    }
    return { point, leaves };
  }

  /** The point before an entry that does not follow: what was between was given up. */
  async #afterGap(
    partition: number,
    point: ChainPoint,
    { number }: AuditEntry,
  ): Promise<ChainPoint> {
    const [kept] = await this.#options.log.points(partition, [number - 1]);
    return kept ?? chainGap(point, number - 1);
  }

  /** Removes leaves whose entries are gone, and the oldest beyond the bound; the tree before them stays as its range. */
  async #shorten(context: DutyContext): Promise<void> {
    const { log, witnesses } = this.#options;
    const last = await this.#last();
    if (last === undefined) return;
    const names = witnesses.flatMap((each) => [treeTexts.witness(each), treeTexts.asked(each)]);
    const [baseText, ...texts] = await log.tree.texts([treeTexts.base, ...names]);
    const base = baseText === undefined ? MerkleRange.empty() : readRange(baseText);
    const known = texts.map((text) => (text === undefined ? undefined : readSigned(text)));
    const since = known.map((each) => each && (each.since ?? MerkleRange.empty(sizeOfHeads(each))));
    const first = base.end;
    await this.#fold([base, ...since], last, context);
    if (base.end === first) return;
    const fields = new Map<string, string>([[treeTexts.base, writeRange(base)]]);
    for (const [at, each] of known.entries()) {
      const range = since[at];
      if (each === undefined || range === undefined || range.end === range.begin) continue;
      fields.set(names[at] ?? "", writeSigned({ ...each, since: range }));
    }
    await log.tree.write({ keepFrom: base.end, fields }, context.epoch);
  }

  /** Appends the leaves that go to the ranges that they follow, the first of which decides where to begin. */
  async #fold(
    [base, ...since]: readonly [MerkleRange, ...(MerkleRange | undefined)[]],
    last: SignedHeads,
    { active }: DutyContext,
  ): Promise<void> {
    const { log, bytesMax, timers } = this.#options;
    const leavesMax = Math.floor((await bytesMax()) / bytesPerLeaf);
    const heads = readHeads(last.heads)?.heads;
    const size = sizeOfHeads(last);
    const isGone = ({ partition, number }: AuditLeaf) =>
      partition === headsLeaf || number <= (heads?.get(partition)?.removed ?? 0);
    for await (const { leaves } of keptLeaves(log.tree, base.end)) {
      const end = base.end + leaves.length;
      // The last step stays.
      if (!active() || end >= size) break;
      if (size - end <= leavesMax && !leaves.every(isGone)) break;
      for (const { hash } of leaves) {
        const following = since.filter((range) => range?.end === base.end);
        for (const range of [...following, base]) range?.append(hash);
      }
      await giveWay(timers);
    }
  }
}

/** Leaves, and the point of the chain after them. */
interface Taken {
  readonly point: ChainPoint;
  readonly leaves: readonly AuditLeaf[];
}

function leafOf(partition: number, { number, bytes }: AuditEntry): AuditLeaf {
  return { partition, number, hash: leafHash(eventLeaf(partition, number, bytes)) };
}

/** Where a new log begins: at what the store still has. */
function startOf(standings: readonly AuditStanding[]): ReadonlyMap<number, AuditHead> {
  const begun = [...standings.entries()].filter(([, { base }]) => base.number > 0);
  return new Map(
    begun.map(([partition, { base }]) => {
      return [partition, { removed: base.number, number: base.number, hash: base.hash }];
    }),
  );
}
