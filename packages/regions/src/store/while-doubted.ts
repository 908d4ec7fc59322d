import { type OwnStore, StoreUnavailable, systemInstance } from "@holdfast/engine";
import type { Serving } from "../serving/serving.ts";

/** Refuses every change but an audit event while the own store may be an older one than this node remembers. */
export function refuseChanges({ doubted, reason }: Serving, changes: number): void {
  if (doubted && changes > 0) throw new StoreUnavailable("doubted", reason);
}

/**
 * Refuses reads of what this node does not remember, which may only seem to be absent, and searches (no `ids`), which may
 * miss something. The nodes' own records are still read: those that are older are refused one by one.
 */
export function refuseUnknown(
  { doubted, reason }: Serving,
  own: OwnStore,
  instance: string,
  ids?: readonly string[],
): void {
  if (!doubted || instance === systemInstance) return;
  if (ids?.every((id) => own.remembers(instance, id)) === true) return;
  throw new StoreUnavailable("doubted", reason);
}
