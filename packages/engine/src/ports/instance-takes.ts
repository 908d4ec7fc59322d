import type { InstanceStatus } from "../base/instance-status.ts";
import type { Change } from "./objects.ts";
import type { OwnCommitOptions } from "./own-store.ts";

/**
 * Whether an instance takes changes in a status: a client's while it is Installed, joins unless it is Deleted. Of a
 * deleted one only objects are taken that are destroyed, so that both regions' copies become the same.
 */
export function instanceTakes(
  status: InstanceStatus | undefined,
  { joined }: OwnCommitOptions,
  changes: readonly Change[],
): boolean {
  if (joined !== true) return status === "Installed";
  return status !== "Deleted" || changes.every(({ after }) => after.facts.destroyed !== undefined);
}
