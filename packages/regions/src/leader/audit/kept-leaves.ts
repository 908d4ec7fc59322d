import { type AuditLeaf, type AuditTreeStore, readLeaves } from "@holdfast/engine";

/** Consecutive leaves of the log over the audit trail. */
export interface LeafRun {
  /** The number of the first leaf. */
  readonly first: number;
  readonly leaves: readonly AuditLeaf[];
}

const runsPerPage = 64;

/** The stored leaves from this number on, which begins a run; ends where leaves are missing or malformed. */
export async function* keptLeaves(
  tree: Pick<AuditTreeStore, "runs">,
  from: number,
): AsyncGenerator<LeafRun> {
  for (let [at, more] = [from, true]; more; ) {
    const runs = await tree.runs(at, runsPerPage);
    more = runs.length > 0;
    for (const { number, bytes } of runs) {
      const leaves = number === at ? (readLeaves(bytes) ?? []) : [];
      if (leaves.length === 0) return;
      yield { first: at, leaves };
      at += leaves.length;
    }
  }
}
