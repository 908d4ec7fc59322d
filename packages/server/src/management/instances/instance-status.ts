import type { InstanceStatus, SystemRecord } from "@holdfast/engine";

type Instance = SystemRecord<"Instance">;

/** Whether an instance was ordered; else it is one of the configuration. */
export function isOrdered({ createdMs }: Pick<Instance, "createdMs">): boolean {
  return createdMs !== undefined;
}

/** Whether the leaders of all these regions have found the instance's root of trust usable and its first KEK in place. */
export function isReady({ state }: Pick<Instance, "state">, regions: readonly string[]): boolean {
  return regions.every((region) => state[region]?.status === "Installed");
}

/** The status that an instance has to have in its partition of every region's store. */
export function statusOf(record: Instance, regions: readonly string[]): InstanceStatus {
  const { destroyed, status } = record;
  if (destroyed !== undefined) return "Deleted";
  if (status === "Configuring" && isReady(record, regions)) return "Installed";
  return status ?? (isOrdered(record) ? "Inactive" : "Installed");
}
