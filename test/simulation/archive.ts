import { type AuditEntry, type AuditStanding, auditTimeOf, decodeAudit } from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import type { AuditSink, ChainedEntry } from "@holdfast/regions";
import { Violation } from "./checker.ts";
import type { Random } from "./random.ts";

const outage = 0.15;
/** Some odd number of entries, so that a trail is read in several pages. */
const pageEntries = 37;

/** Where a region ships its audit events. It is out at times, and gets some of them twice. */
export class Archive implements AuditSink {
  readonly name = "archive";
  readonly #random: Random;
  readonly #failed: (error: Violation) => void;
  /** Store, partition and number → the entry and the hash of the chain after it. */
  #got = new Map<string, ChainedEntry>();

  constructor(random: Random, failed: (error: Violation) => void) {
    this.#random = random;
    this.#failed = failed;
  }

  async deliver(entries: readonly ChainedEntry[]): Promise<void> {
    const breaksAt = this.#random.chance(outage) ? this.#random.below(entries.length) : Infinity;
    for (const [at, entry] of entries.entries()) {
      if (at >= breaksAt) throw new Error("the archive is out");
      this.#take(entry);
    }
  }

  /** The region's store was lost or replaced: its numbers may begin anew. */
  forget(): void {
    this.#got = new Map();
  }

  /** What it lacks of a store's chains; undefined if nothing. */
  lacks(storeId: string, standings: readonly AuditStanding[]): string | undefined {
    for (const [partition, { head }] of standings.entries()) {
      for (let number = 1; number <= head.number; number += 1) {
        if (!this.#got.has(placeOf({ storeId, partition, number }))) {
          return `event ${number} of partition ${partition}`;
        }
      }
      const last = this.#got.get(placeOf({ storeId, partition, number: head.number }));
      if (last !== undefined && !sameBytes(last.hash, head.hash)) {
        return `the chained event ${head.number} of partition ${partition}`;
      }
    }
    return undefined;
  }

  /** How many successes it got, by action and object. */
  successes(): ReadonlyMap<string, number> {
    const found = new Map<string, number>();
    for (const { bytes } of this.#got.values()) {
      for (const { outcome, action, target } of decodeAudit(bytes).events) {
        if (outcome !== "success") continue;
        const key = `${action} ${target}`;
        found.set(key, (found.get(key) ?? 0) + 1);
      }
    }
    return found;
  }

  #take(entry: ChainedEntry): void {
    const place = placeOf(entry);
    const known = this.#got.get(place);
    this.#got.set(place, entry);
    if (known === undefined || sameBytes(known.bytes, entry.bytes)) return;
    this.#failed(new Violation(`the archive got two different audit events ${place}`));
  }
}

function placeOf({
  storeId,
  partition,
  number,
}: Pick<ChainedEntry, "storeId" | "partition" | "number">): string {
  return `${storeId} ${partition} ${number}`;
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

/** Reads a partition's trail forwards, backwards and from some moment; throws a violation where these differ. */
export async function readTrail(log: RedisStore["audit"], partition: number): Promise<void> {
  const standing = (await log.standings())[partition];
  if (standing === undefined) return;
  const { base, last, head } = standing;
  const forwards: AuditEntry[] = [];
  for (let after = base.number; ; after = forwards.at(-1)?.number ?? after) {
    const range = { from: { after }, limit: pageEntries, covered: true };
    const page = (await log.entries(partition, range)).filter(({ number }) => number <= last);
    if (page.length === 0) break;
    forwards.push(...page);
  }
  const backwards: AuditEntry[] = [];
  for (let before = last + 1; ; before = backwards.at(-1)?.number ?? before) {
    const range = { from: { before }, limit: pageEntries, covered: true };
    const page = await log.entries(partition, range);
    if (page.length === 0) break;
    backwards.push(...page);
  }
  // Meanwhile events may be trimmed at the beginning, and added at the end.
  const first = backwards.at(-1)?.number ?? last + 1;
  const kept = forwards.filter(({ number }) => number >= first);
  if (text(kept) !== text(backwards.toReversed())) {
    throw new Violation(
      `the audit trail of partition ${partition} differs when it is read backwards`,
    );
  }
  const latest = Math.max(0, ...forwards.map(({ bytes }) => auditTimeOf(bytes)));
  const [late, early] = [await log.seek(partition, latest + 1), await log.seek(partition, 0)];
  if (late <= last || early < first) {
    throw new Violation(`a moment of the audit trail of partition ${partition} is not found`);
  }
  const [point] = await log.points(partition, [head.number]);
  if (point !== undefined && !sameBytes(point.hash, head.hash)) {
    throw new Violation(`the audit trail of partition ${partition} has two chains`);
  }
}

function text(entries: readonly AuditEntry[]): string {
  return entries
    .map(({ number, bytes }) => `${number} ${Buffer.from(bytes).toString("hex")}`)
    .join();
}
