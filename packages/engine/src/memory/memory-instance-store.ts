import type { InstanceStatus, InstanceStore } from "../ports.ts";

/** Instances in memory, for tests and as the model of the real store. */
export class MemoryInstanceStore implements InstanceStore {
  readonly #statuses = new Map<string, InstanceStatus>();

  async ensure(instance: string, _name: string): Promise<InstanceStatus> {
    const status = this.statusOf(instance) ?? "Installed";
    this.#statuses.set(instance, status);
    return status;
  }

  /** Undefined for an instance that nobody has ensured. */
  statusOf(instance: string): InstanceStatus | undefined {
    return this.#statuses.get(instance);
  }

  /** What an administrator would do to an instance. */
  setStatus(instance: string, status: InstanceStatus): void {
    this.#statuses.set(instance, status);
  }

  /** Forgets them all. */
  clear(): void {
    this.#statuses.clear();
  }
}
