import type { OwnStore } from "@holdfast/engine";
import type { Others } from "@holdfast/regions";

/** What a region's own store may lack of what the regions have acknowledged. */
export interface StoreGaps {
  /** Whether it has all that the other region had when it came back, as far as the store knows. */
  readonly isLevel: boolean;
  /** What it lacks beyond what a cut between the regions keeps from it: a backup of it is not complete. */
  readonly lacks?: string;
  /** What a cut may keep from it, as from any store. */
  readonly note?: string;
}

/** The other region, as far as a backup needs to know: there may be none that is not retired. */
export type AskOthers = () => Promise<Others>;

/** Finds what a store may lack. Rejects with `StoreUnavailable` where it cannot answer. */
export async function gapsOf(
  own: Pick<OwnStore, "levels" | "doubted">,
  askOthers: AskOthers,
): Promise<StoreGaps> {
  if (own.doubted()) {
    return { isLevel: false, lacks: "the store may be an older one than this node remembers" };
  }
  const others = await askOthers();
  // There is nothing that it could be level with.
  if (others === "absent") return { isLevel: true };
  const note =
    others === "up"
      ? {}
      : { note: "the other region does not answer: what it acknowledged alone may not be in it" };
  const { asked, reached, lost } = await own.levels();
  if (reached >= asked) return { isLevel: true, ...note };
  if (lost > reached) return { isLevel: false, lacks: lacking };
  if (reached === 0) {
    return { isLevel: false, lacks: "the store was never level with the other region" };
  }
  // Its nodes were restarted in a cut: it has lost nothing.
  if (others !== "up") return { isLevel: false, ...note };
  return { isLevel: false, lacks: "the store is not level with the other region yet" };
}

const lacking =
  "the store had no room for all, or is an older one: it lacks what the other region has";
