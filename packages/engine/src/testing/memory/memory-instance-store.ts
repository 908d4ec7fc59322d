import type { InstanceStatus } from "../../base/instance-status.ts";
import type { InstanceStatuses, InstanceStore } from "../../ports/instances.ts";

/** Instances in memory, for tests and as the model of the real store. */
export class MemoryInstanceStore implements InstanceStore, InstanceStatuses {
  readonly #statuses = new Map<string, InstanceStatus>();

  ensure(instance: string, _name: string): Promise<InstanceStatus> {
    return this.install(instance);
  }

  async install(instance: string): Promise<InstanceStatus> {
    const status = this.statusOf(instance) ?? "Installed";
    this.#statuses.set(instance, status);
    return status;
  }

  async move(
    instance: string,
    from: readonly (InstanceStatus | undefined)[],
    to: InstanceStatus,
  ): Promise<InstanceStatus | undefined> {
    const now = this.statusOf(instance);
    if (now !== "Deleted" && from.includes(now)) this.#statuses.set(instance, to);
    return this.statusOf(instance);
  }

  async status(instance: string): Promise<InstanceStatus | undefined> {
    return this.statusOf(instance);
  }

  /** Undefined for an instance that nobody has ensured. */
  statusOf(instance: string): InstanceStatus | undefined {
    return this.#statuses.get(instance);
  }

  /** Sets an instance's status, as an administrator does. */
  setStatus(instance: string, status: InstanceStatus): void {
    this.#statuses.set(instance, status);
  }

  /** Forgets them all. */
  clear(): void {
    this.#statuses.clear();
  }
}
