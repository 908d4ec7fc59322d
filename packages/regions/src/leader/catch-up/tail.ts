import type { Leaf, LeafPage, ReplicationSource, StorePosition } from "@holdfast/engine";
import type { Peer } from "../../ports/ports.ts";
import type { Unjoinable } from "./digests.ts";

/** What is compared: another region's changes after a number with the own ones after a mark. */
export interface TailComparison {
  readonly own: Pick<ReplicationSource, "leaves">;
  readonly peer: Pick<Peer, "leaves">;
  readonly partition: number;
  readonly replicationId: string;
  readonly after: number;
  readonly ownAfter: number;
  readonly unjoinable: Unjoinable;
}

/**
 * Most changes that are compared, and most that may be missing; with more, whole pages are read.
 */
export const tailMax = 4_000;
const missingMax = 500;

const everything = new Uint8Array(32).fill(0xff);

/**
 * Identifiers of records that another region changed and the own store lacks, by identifier and tag
 * alone: nearly all were pushed, and need not be sent and read a second time. Undefined where
 * reading pages costs less, or where another process numbers the changes there. The result is
 * complete up to any position that was read before.
 */
export async function missingInTail(
  comparison: TailComparison,
): Promise<readonly string[] | undefined> {
  const { own, peer, partition, replicationId, after, ownAfter, unjoinable } = comparison;
  const [ours, theirs] = await Promise.all([
    leavesAfter(own, partition, ownAfter),
    leavesAfter(peer, partition, after),
  ]);
  if (ours === undefined || theirs === undefined) return undefined;
  if (theirs.some((page) => page.replicationId !== replicationId)) return undefined;
  const known = new Set(ours.flatMap(({ leaves }) => leaves.map(nameOf)));
  const missing = theirs
    .flatMap(({ leaves }) => leaves)
    .filter((leaf) => !known.has(nameOf(leaf)))
    .filter(({ uniqueIdentifier, tag }) => unjoinable.get(uniqueIdentifier)?.tag !== tag)
    .map(({ uniqueIdentifier }) => uniqueIdentifier);
  return missing.length > missingMax ? undefined : [...new Set(missing)];
}

/** All pages to the end; undefined where there are too many. */
async function leavesAfter(
  store: Pick<ReplicationSource, "leaves">,
  partition: number,
  after: number,
): Promise<readonly LeafPage[] | undefined> {
  const pages: LeafPage[] = [];
  let count = 0;
  for (let from: number | undefined = after; from !== undefined; ) {
    const page: LeafPage = await store.leaves(partition, everything, from);
    pages.push(page);
    count += page.leaves.length;
    if (count > tailMax * 2) return undefined;
    from = page.next;
  }
  return pages;
}

function nameOf({ uniqueIdentifier, tag }: Leaf): string {
  return uniqueIdentifier + tag;
}

/** The own change number when another region's changes were last read: later changes were mostly pushed by it. */
export class TailMarks {
  #older: StorePosition | undefined;
  #newer: StorePosition | undefined;

  /**
   * A push may arrive before the position that covers it, so the mark is the position before the
   * last.
   */
  note(position: StorePosition): void {
    this.#older = this.#newer;
    this.#newer = position;
  }

  forget(): void {
    this.#older = undefined;
    this.#newer = undefined;
  }

  of(partition: number): number | undefined {
    const [older, newer] = [this.#older, this.#newer];
    const same = older !== undefined && older.replicationId === newer?.replicationId;
    return same ? older.numbers[partition] : undefined;
  }
}
