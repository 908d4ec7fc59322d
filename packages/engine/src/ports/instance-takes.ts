import type { InstanceStatus } from "../base/instance-status.ts";
import type { Change } from "./objects.ts";
import type { OwnCommitOptions } from "./own-store.ts";

/**
 * Whether an instance with a status takes changes: a client's if it is Installed, joins unless it is Deleted. In a
 * Deleted one, a join may only write objects that are destroyed for good, so that both regions' copies become the same.
 */
export function instanceTakes(
  status: InstanceStatus | undefined,
  { joined }: OwnCommitOptions,
  changes: readonly Change[],
): boolean {
  if (joined !== true) return status === "Installed";
  return status !== "Deleted" || changes.every(({ after }) => after.facts.destroyed !== undefined);
}
