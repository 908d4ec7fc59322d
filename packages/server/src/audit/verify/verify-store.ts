import {
  type AuditEntry,
  type AuditLog,
  type AuditStanding,
  auditEntriesMax,
  type ChainPoint,
  chainGap,
  checkpointEvery,
  decodeAudit,
  eventLeaf,
  leafHash,
} from "@holdfast/engine";
import { chainPoint, sameHash } from "@holdfast/regions";
import { Findings, partitionName, rangeText, type Verdict } from "./findings.ts";
import { LogCheck, type LogTrust, type Stated } from "./verify-log.ts";

/** What a check of the store found, and how much it looked at. */
export interface StoreVerdict extends Verdict {
  readonly entries: number;
  /** Written, but not chained yet: a change to these would not be found. */
  readonly unchained: number;
  /** Not cosigned by a witness yet; undefined without a log. */
  readonly unwitnessed?: number;
}

/** How a node checks without holding up its clients. */
export interface Pace {
  /** Taken after each few entries or leaves; may reject, to end the check. */
  readonly turn: () => Promise<void>;
  /** Takes how many entries were seen, and about how many there are. */
  readonly progress: (entries: number, of: number) => void;
}

/** How many entries are checked between two turns. */
const entriesPerTurn = 32;

/** Checks the audit trail in a store against the chain that the leader keeps there, and against the log over it. */
export async function verifyStore(
  log: AuditLog,
  trust?: LogTrust,
  pace?: Pace,
): Promise<StoreVerdict> {
  const findings = new Findings();
  let [entries, unchained, unwitnessed] = [0, 0, 0];
  const check = trust && new LogCheck(log, trust, findings, pace?.turn);
  await check?.begin();
  const standings = await log.standings();
  const of = standings.reduce(
    (sum, { base, dropped, last }) => sum + Math.max(0, last - Math.max(base.number, dropped)),
    0,
  );
  const turn = async (seen: number): Promise<void> => {
    pace?.progress(entries + seen, of);
    await pace?.turn();
  };
  const stated = await check?.run(standings);
  const notes: string[] = [...(check?.notes ?? [])];
  for (const [partition, standing] of standings.entries()) {
    const { base, dropped, head, last } = standing;
    if (Math.max(last, head.number) === 0) continue;
    unchained += Math.max(0, last - head.number);
    unwitnessed += Math.max(0, last - Math.max(base.number, stated?.witnessed(partition) ?? 0));
    const name = partitionName(partition);
    if (last < head.number) {
      // An attacker who cuts off the end sets back the count, too.
      const range = rangeText(last + 1, head.number);
      findings.add(`${name}: entry ${range}: chained, and beyond the trail's end: removed`);
    }
    if (dropped > base.number) {
      notes.push(`${name}: entries up to ${dropped} were given up at the hard bound`);
    } else if (base.number > 0) {
      notes.push(`${name}: entries up to ${base.number} were removed by retention`);
    }
    const ofPartition = new PartitionCheck(log, partition, findings, stated, turn);
    entries += await ofPartition.run(standing);
  }
  const all = { entries, unchained, notes, findings: findings.lines };
  return trust === undefined ? all : { ...all, unwitnessed };
}

class PartitionCheck {
  readonly #log: AuditLog;
  readonly #partition: number;
  readonly #findings: Findings;
  readonly #stated: Stated | undefined;
  readonly #turn: (seen: number) => Promise<void>;
  /** The last point that was found, or assumed, to be right. */
  #sure = 0;
  #seen = 0;
  /** Earlier entries are gone, so nothing can be checked until the next point that is kept. */
  #blind = false;

  /** `stated` is what a log proves; `turn` takes how many entries were seen. */
  constructor(
    log: AuditLog,
    partition: number,
    findings: Findings,
    stated: Stated | undefined,
    turn: (seen: number) => Promise<void>,
  ) {
    this.#log = log;
    this.#partition = partition;
    this.#findings = findings;
    this.#stated = stated;
    this.#turn = turn;
  }

  /** Returns how many entries it saw. */
  async run(standing: AuditStanding): Promise<number> {
    const { head, last } = standing;
    const points = this.#stated?.points.get(this.#partition) ?? [];
    const proven = new Map(points.map((each) => [each.number, { ...head, ...each }]));
    const start = await this.#start(standing);
    this.#sure = start.number;
    let point = start;
    while (point.number < last) {
      const range = { from: { after: point.number }, limit: auditEntriesMax, covered: false };
      const page = await this.#log.entries(this.#partition, range);
      if (page.length === 0) {
        await this.#missing(point, last);
        break;
      }
      const kept = await this.#kept(point.number, page.at(-1)?.number ?? point.number);
      point = await this.#page(point, page, (number) => {
        return proven.get(number) ?? (number === head.number ? head : kept.get(number));
      });
    }
    return this.#seen;
  }

  /** Checks the entries of a page as far as they follow; returns the point after them. */
  async #page(
    from: ChainPoint,
    page: readonly AuditEntry[],
    known: (number: number) => ChainPoint | undefined,
  ): Promise<ChainPoint> {
    let point = from;
    for (const entry of page) {
      if (entry.number > point.number + 1) point = await this.#missing(point, entry.number - 1);
      if (entry.number <= point.number) continue;
      if (entry.number > point.number + 1) break;
      this.#seen += 1;
      if (this.#seen % entriesPerTurn === 0) await this.#turn(this.#seen);
      point = chainPoint(point, entry);
      this.#checkForm(point.number, entry.bytes);
      this.#checkLeaf(entry);
      point = this.#compare(point, known(point.number));
    }
    return point;
  }

  /**
   * Where the trail begins: at its base, or where the hard bound cut it off. The leader keeps a
   * point there if it had chained that far.
   */
  async #start({ base, dropped }: AuditStanding): Promise<ChainPoint> {
    if (dropped <= base.number) return base;
    const [kept] = await this.#log.points(this.#partition, [dropped]);
    this.#blind = kept === undefined;
    return kept ?? { ...base, number: dropped };
  }

  /** The points that are kept between two numbers. */
  async #kept(from: number, to: number): Promise<ReadonlyMap<number, ChainPoint>> {
    const numbers: number[] = [];
    const first = Math.floor(from / checkpointEvery + 1) * checkpointEvery;
    for (let number = first; number <= to; number += checkpointEvery) numbers.push(number);
    const points = numbers.length === 0 ? [] : await this.#log.points(this.#partition, numbers);
    return new Map(
      points.flatMap((point) => (point === undefined ? [] : [[point.number, point] as const])),
    );
  }

  /** The point from which to continue, at or after `last`. */
  async #missing(point: ChainPoint, last: number): Promise<ChainPoint> {
    // Retention may have removed entries meanwhile; with a log, only those of which the log states it.
    const now = (await this.#log.standings())[this.#partition];
    const begin = Math.max(now?.base.number ?? 0, now?.dropped ?? 0);
    const removed = (await this.#stated?.removed(this.#partition)) ?? Number.POSITIVE_INFINITY;
    if (now !== undefined && begin >= last && begin <= removed) {
      const start = await this.#start(now);
      this.#sure = start.number;
      return start;
    }
    this.#report(rangeText(point.number + 1, last), "missing: removed");
    return chainGap(point, last);
  }

  #checkLeaf({ number, bytes }: AuditEntry): void {
    const leaf = this.#stated?.leaf(this.#partition, number);
    if (leaf === undefined || sameHash(leaf, leafHash(eventLeaf(this.#partition, number, bytes)))) {
      return;
    }
    this.#report(String(number), "not the one that is in the log: changed or reordered");
  }

  #checkForm(number: number, bytes: Uint8Array): void {
    try {
      decodeAudit(bytes);
    } catch {
      this.#report(String(number), "does not decode");
    }
  }

  /** Continues from the leader's value, so that one fault is reported once. */
  #compare(point: ChainPoint, kept: ChainPoint | undefined): ChainPoint {
    if (kept === undefined) return point;
    const among = `among ${rangeText(this.#sure + 1, point.number)}`;
    if (this.#blind && this.#stated !== undefined) {
      this.#report(among, "cannot be checked: the chain's point before them was removed");
    } else if (!this.#blind && !sameHash(point.hash, kept.hash)) {
      this.#report(among, "not what was chained: changed, removed or reordered");
    }
    this.#sure = point.number;
    this.#blind = false;
    return kept;
  }

  #report(which: string, says: string): void {
    this.#findings.add(`${partitionName(this.#partition)}: entry ${which}: ${says}`);
  }
}
