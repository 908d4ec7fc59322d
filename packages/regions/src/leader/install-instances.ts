import {
  type InstanceStatuses,
  type ManagedObject,
  type OwnStore,
  readInstanceRecord,
  sysPartition,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "./duty.ts";
import { OwnFeed } from "./own-feed.ts";

/** What `InstallInstances` stands on. */
export interface InstallInstancesOptions {
  readonly own: OwnStore;
  readonly statuses: InstanceStatuses;
}

const installEveryMs = 1_000;
const recordsPerRun = 1_000;

/**
 * Finishes what is half done: an instance that is named has a status in its own partition. The name travels, the status
 * does not, so one that only the other region's configuration has takes no changes here until this was done, and its
 * clients would be refused whenever that region's store is out.
 */
export class InstallInstances implements Duty {
  readonly name = "instances";
  readonly everyMs = installEveryMs;
  readonly #statuses: InstanceStatuses;
  readonly #feed: OwnFeed;
  readonly #named = new Set<string>();

  constructor({ own, statuses }: InstallInstancesOptions) {
    this.#statuses = statuses;
    this.#feed = new OwnFeed(own, [sysPartition]);
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const unread = await this.#feed.follow(recordsPerRun, context, (object) => this.#note(object));
    let done = 0;
    for (const instance of this.#named) {
      if (!context.active()) break;
      if ((await this.#statuses.status(instance)) === undefined) {
        await this.#statuses.install(instance);
        done += 1;
      }
      this.#named.delete(instance);
    }
    return { done, left: this.#named.size + unread };
  }

  #note(object: ManagedObject): void {
    const entry = readInstanceRecord(object);
    if (entry === undefined) return;
    if (object.facts.destroyed === undefined) this.#named.add(entry.instance);
    else this.#named.delete(entry.instance);
  }
}
