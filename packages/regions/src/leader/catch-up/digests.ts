import { differingMask, type Leaf, type ReplicationSource, type Tag } from "@holdfast/engine";
import type { Peer } from "../../ports/ports.ts";
import { slices } from "../pace.ts";

/** A copy that was put aside. */
interface Aside {
  readonly tag: Tag;
  /** The tag of the own copy, where it was kept only since other KEKs sealed it: re-sealed, it may take the other's seals. */
  readonly own: Tag | undefined;
  /** Whether nothing has ended it: an operator may accept that the own store has lost a later state. */
  readonly stands: () => boolean;
}

/** Copies that cannot be joined, by identifier. */
export type Unjoinable = Map<string, Aside>;

/** What a comparison works on. */
export interface Comparison {
  readonly own: Pick<ReplicationSource, "digests" | "leaves">;
  readonly peer: Pick<Peer, "digests" | "leaves">;
  readonly partition: number;
  readonly unjoinable: Unjoinable;
  readonly active: () => boolean;
}

/**
 * How many first bytes have their leaves compared together: fewer where there are many leaves,
 * since the own ones are kept in memory.
 */
const bytesAtFirst = 8;
const leavesMany = 20_000;
const leavesFew = 4_000;
/** Records fetched at once. */
const idsPerFetch = 200;

/**
 * Compares two regions' digests of a partition and hands `each` the identifiers of records that the
 * other region has and the own store lacks or has in another version. True when everything was
 * compared.
 */
export async function differing(
  comparison: Comparison,
  each: (ids: readonly string[]) => Promise<void>,
): Promise<boolean> {
  const { own, peer, partition, active } = comparison;
  const [ours, theirs] = await Promise.all([own.digests(partition), peer.digests(partition)]);
  const mask = differingMask(ours, theirs);
  const bytes = mask === undefined ? [] : bytesIn(mask);
  let width = bytesAtFirst;
  for (let at = 0; at < bytes.length; ) {
    if (!active()) return false;
    const part = maskOf(bytes.slice(at, at + width));
    at += width;
    const count = await compareLeaves(comparison, part, each);
    if (count > leavesMany) width = Math.max(1, width >> 1);
    else if (count < leavesFew) width = Math.min(256, width << 1);
  }
  return true;
}

/** Compares the leaves of some first bytes; returns how many leaves the own store has. */
async function compareLeaves(
  { own, peer, partition, unjoinable }: Comparison,
  mask: Uint8Array,
  each: (ids: readonly string[]) => Promise<void>,
): Promise<number> {
  const known = new Map<string, Tag>();
  for await (const leaves of pages(own, partition, mask)) {
    for (const { uniqueIdentifier, tag } of leaves) known.set(uniqueIdentifier, tag);
  }
  for await (const leaves of pages(peer, partition, mask)) {
    const ids = leaves
      .filter(({ uniqueIdentifier, tag }) => known.get(uniqueIdentifier) !== tag)
      .filter(({ uniqueIdentifier: id, tag }) => !isAside(unjoinable.get(id), tag, known.get(id)))
      .map(({ uniqueIdentifier }) => uniqueIdentifier);
    for (const part of slices(ids, idsPerFetch)) await each(part);
  }
  return known.size;
}

/** Whether a copy was put aside, and nothing has changed since. */
function isAside(aside: Aside | undefined, tag: Tag, own: Tag | undefined): boolean {
  if (aside?.tag !== tag || !aside.stands()) return false;
  return aside.own === undefined || aside.own === own;
}

async function* pages(
  store: Pick<ReplicationSource, "leaves">,
  partition: number,
  mask: Uint8Array,
): AsyncGenerator<readonly Leaf[]> {
  for (let after: number | undefined; ; ) {
    const page = await store.leaves(partition, mask, after);
    yield page.leaves;
    if (page.next === undefined || page.next === after) return;
    after = page.next;
  }
}

function bytesIn(mask: Uint8Array): readonly number[] {
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  return bytes.filter((byte) => ((mask[byte >> 3] ?? 0) >> (byte & 7)) & 1);
}

function maskOf(bytes: readonly number[]): Uint8Array {
  const mask = new Uint8Array(32);
  for (const byte of bytes) mask[byte >> 3] = (mask[byte >> 3] ?? 0) | (1 << (byte & 7));
  return mask;
}
