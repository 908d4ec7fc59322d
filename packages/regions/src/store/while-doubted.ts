import { type OwnStore, StoreUnavailable, systemInstance } from "@holdfast/engine";

const reason = "own store is older than this node remembers";

/**
 * Refuses every change but an audit event while the own store may be an older one than this node remembers. A change is asked
 * once more when it was written: it may have waited for a store that was put back meanwhile.
 */
export function refuseChanges(own: Pick<OwnStore, "doubted">, changes: number): void {
  if (own.doubted() && changes > 0) throw new StoreUnavailable("doubted", reason);
}

/**
 * Refuses reads of what this node does not remember, which may only seem to be absent, and searches (no `ids`), which may
 * miss something: before they are asked, and once they are answered. The nodes' own records are still read: those that are
 * older are refused one by one.
 */
export function refuseUnknown(
  own: Pick<OwnStore, "doubted" | "remembers">,
  instance: string,
  ids?: readonly string[],
): void {
  if (!own.doubted() || instance === systemInstance) return;
  if (ids?.every((id) => own.remembers(instance, id)) === true) return;
  throw new StoreUnavailable("doubted", reason);
}
