import type { InstanceStatus } from "../base/instance-status.ts";

/** An instance's status, which is stored in the instance's partition of a region's own store. */
export interface InstanceStatuses {
  /** Makes an instance Installed if it has no status; returns its status; durable when it resolves. */
  install(instance: string): Promise<InstanceStatus>;
  /** Undefined if it has none. */
  status(instance: string): Promise<InstanceStatus | undefined>;
  /**
   * Gives it the status `to` if it has one of `from`, where undefined means no status; returns its status afterwards;
   * durable when it resolves. A Deleted instance stays Deleted.
   */
  move(
    instance: string,
    from: readonly (InstanceStatus | undefined)[],
    to: InstanceStatus,
  ): Promise<InstanceStatus | undefined>;
}

/** The known instances. In one region they are declared in the configuration and ensured at start. */
export interface InstanceStore {
  /** Makes the instance Installed if it is not known; returns its status; durable when it resolves. */
  ensure(instance: string, name: string): Promise<InstanceStatus>;
}
