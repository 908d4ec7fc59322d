import { StoreUnavailable } from "../base/errors.ts";
import type { InstanceStatus } from "../base/instance-status.ts";
import type { InstanceStatuses, InstanceStore } from "../ports/instances.ts";
import type { ObjectStore } from "../ports/objects.ts";
import { refused, updateRecord } from "../ports/update-record.ts";
import { systemInstance } from "../system/partition.ts";
import { changeRecord, makeRecord, readRecord, systemIdentifier } from "../system/system-record.ts";
import { nowOf, type SystemWriter } from "./object-kek-store.ts";

/** Instances: their names are in system records, which regions share; their status is in the region's own store. */
export class ObjectInstances implements InstanceStore {
  readonly #store: ObjectStore;
  readonly #statuses: InstanceStatuses;
  readonly #writer: SystemWriter;

  constructor(store: ObjectStore, statuses: InstanceStatuses, writer: SystemWriter) {
    this.#store = store;
    this.#statuses = statuses;
    this.#writer = writer;
  }

  /** See `InstanceStore.ensure`. A store that can only be read answers for an instance that it already knows. */
  async ensure(instance: string, name: string): Promise<InstanceStatus> {
    if (instance === systemInstance) throw new RangeError(`${instance} is not an instance`);
    try {
      // The name first: the next `ensure` of the instance finishes one without a status.
      await this.#name(instance, name);
      return await this.#statuses.install(instance);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      const known = await this.#statuses.status(instance).catch(() => undefined);
      if (known === undefined) throw error;
      return known;
    }
  }

  async #name(instance: string, name: string): Promise<void> {
    const id = systemIdentifier("Instance", instance);
    // Made without reading first: while another region cannot be reached, nobody knows that a record does not exist.
    const after = makeRecord("Instance", id, { instance, name }, nowOf(this.#writer));
    const made = await this.#store.commit(systemInstance, [{ kind: "create", after }], []);
    if (made.kind === "committed") return;
    if (made.kind !== "conflict") throw refused(made);
    await updateRecord(
      this.#store,
      id,
      (before) =>
        before && readRecord("Instance", before.object)?.name !== name
          ? changeRecord("Instance", before.object, { name }, nowOf(this.#writer))
          : undefined,
      { what: `instance ${name}` },
    );
  }
}
