import { type InstanceStatus, type InstanceStore, StoreUnavailable } from "@holdfast/engine";
import { instanceKeys, partitionKeys, partitionOf, sysKeys, sysPartition } from "./keys.ts";
import type { StoreContext } from "./tenure.ts";
import type { Tenures } from "./tenures.ts";

const sys = partitionKeys(sysPartition);
const statuses: readonly string[] = [
  "Installing",
  "Inactive",
  "Configuring",
  "Installed",
  "Removing",
  "Deleted",
] satisfies InstanceStatus[];

/** Instances in Redis: named in `{sys}`, their status in their own partition. */
export class RedisInstances implements InstanceStore {
  readonly #context: StoreContext;
  readonly #tenures: Tenures;

  constructor(context: StoreContext, tenures: Tenures) {
    this.#context = context;
    this.#tenures = tenures;
  }

  /** See `InstanceStore.ensure`. A store that only reads answers for an instance that is known already. */
  async ensure(instance: string, name: string): Promise<InstanceStatus> {
    const { scripts } = this.#context;
    const known = this.#tenures.now("write") === undefined && (await this.#known(instance));
    if (known) return known;
    const { committer } = this.#tenures.now("write") ?? (await this.#tenures.require("write"));
    const partition = partitionOf(instance);
    const { prefix, head, counters } = partitionKeys(partition);
    const { status } = instanceKeys(prefix, instance);
    // {sys} first: a name without a status is finished by whoever ensures the instance next.
    const named = [sys.head, sys.counters, sysKeys.instances];
    await committer.submit(scripts["name-instance"], sysPartition, named, [instance, name]);
    const keys = [head, counters, status];
    const { rest } = await committer.submit(scripts["install-instance"], partition, keys, []);
    return statusOf(rest[0]);
  }

  async #known(instance: string): Promise<InstanceStatus | undefined> {
    const tenure = this.#tenures.now("read");
    if (tenure === undefined) return undefined;
    const partition = partitionOf(instance);
    const { status } = instanceKeys(partitionKeys(partition).prefix, instance);
    const { values } = await tenure.reading((reader) => reader.read(partition, [status]));
    this.#tenures.assert(tenure, "read");
    return values[0] ? statusOf(values[0]) : undefined;
  }
}

function statusOf(value: unknown): InstanceStatus {
  const status = String(value);
  if (statuses.includes(status)) return status as InstanceStatus;
  throw new StoreUnavailable("corrupt", "an instance's status is none that is known");
}
