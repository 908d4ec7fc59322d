import type { InstanceStatus } from "../base/instance-status.ts";

/** An instance's status, which lies in its own partition of a region's own store. */
export interface InstanceStatuses {
  /** Makes an instance Installed where it has no status; answers its status; durable when it resolves. */
  install(instance: string): Promise<InstanceStatus>;
  /** Undefined where it has none. */
  status(instance: string): Promise<InstanceStatus | undefined>;
  /**
   * Gives it the status `to` if it has one of `from`, where undefined means no status; answers what it has then; durable when
   * it resolves. One that is Deleted stays so.
   */
  move(
    instance: string,
    from: readonly (InstanceStatus | undefined)[],
    to: InstanceStatus,
  ): Promise<InstanceStatus | undefined>;
}

/** Where instances are known. In one region they are declared in the configuration and ensured at start. */
export interface InstanceStore {
  /** Makes the instance Installed if it is not known; answers its status; durable when it resolves. */
  ensure(instance: string, name: string): Promise<InstanceStatus>;
}
