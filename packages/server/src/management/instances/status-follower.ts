import {
  type InstanceStatus,
  type InstanceStatuses,
  type OwnStore,
  readRecord,
  StoreUnavailable,
  type SystemRecord,
  systemInstance,
} from "@holdfast/engine";
import { instanceRecordId } from "../../records/records.ts";
import { statusOf } from "./instance-status.ts";

export interface StatusFollowerOptions {
  readonly own: Pick<OwnStore, "read"> & Pick<InstanceStatuses, "status" | "move">;
  /** All regions that are not retired, this one's included. */
  readonly regions: () => readonly string[];
}

const triesMax = 8;

/**
 * Brings an instance's status in the region's own store to what its record there says. The status is read before the
 * record and moved only from what was read, so that a slow node never undoes a later change of the record.
 */
export class StatusFollower {
  readonly #options: StatusFollowerOptions;

  constructor(options: StatusFollowerOptions) {
    this.#options = options;
  }

  /** The status that an instance with this record has to have, whether the own store has the record or not. */
  wanted(record: SystemRecord<"Instance">): InstanceStatus {
    return statusOf(record, this.#options.regions());
  }

  /** Answers the status, and whether it changed; undefined for an unknown instance. */
  async follow(
    instance: string,
  ): Promise<{ readonly status: InstanceStatus; readonly moved: boolean } | undefined> {
    const { own, regions } = this.#options;
    for (let tries = 0; tries < triesMax; tries += 1) {
      const before = await own.status(instance);
      const [copy] = await own.read(systemInstance, [instanceRecordId(instance)]);
      const record = copy && readRecord("Instance", copy.object);
      if (record === undefined) return undefined;
      const status = statusOf(record, regions());
      if (before === status) return { status, moved: false };
      const after = await own.move(instance, [before], status);
      if (after === status) return { status, moved: true };
      // One that is Deleted stays so, even if an older record says otherwise.
      if (after === "Deleted") return { status: after, moved: false };
    }
    throw new StoreUnavailable(
      "timeout",
      `too many concurrent updates of the status of instance ${instance}`,
    );
  }
}
