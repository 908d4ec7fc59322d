import { ManagementError } from "@holdfast/admin";
import {
  type Clock,
  type Fact,
  type ManagedObject,
  type OwnStore,
  type Removal,
  readAnyRecord,
  StoreUnavailable,
  type SystemRecord,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "@holdfast/regions";
import type { Actor } from "../../audit/management-event.ts";
import type { NodeObserver } from "../../observe/events.ts";
import { instanceRecordId } from "../../records/records.ts";
import type { SystemView } from "../../records/system-view.ts";
import type { ConfigureInstance } from "./configure.ts";
import type { Deletion } from "./deletion.ts";
import type { StatusFollower } from "./status-follower.ts";

export interface InstancesDutyOptions {
  readonly node: string;
  readonly own: Pick<OwnStore, "storeId" | "onState">;
  readonly view: Pick<SystemView, "all" | "get" | "refresh" | "onChange">;
  readonly statuses: Pick<StatusFollower, "follow" | "wanted">;
  readonly deletion: Pick<
    Deletion,
    "resume" | "eraseBelongings" | "eraseWraps" | "eraseObjects" | "noteUnproven"
  >;
  readonly configure: Pick<ConfigureInstance, "install">;
  readonly clock: Clock;
  readonly requestId: () => string;
  readonly observe: NodeObserver;
  /** How long a leader has seen a deletion without progress before it continues it; 5,000 unless given. */
  readonly abandonedMs?: number;
}

interface Seen {
  readonly removal: string;
  readonly sinceMs: number;
}

const everyMs = 500;
const abandonedAfterMs = 5_000;
const erasedPerRun = 5_000;

/**
 * Keeps every instance's status in the region's own store as its record says, makes one Installed whose root of trust
 * is usable in every region, continues deletions that were left half done, and erases what deleted instances held.
 */
export class InstancesDuty implements Duty, Disposable {
  readonly name = "instances";
  readonly everyMs = everyMs;
  readonly #options: InstancesDutyOptions;
  /** Instances that may still need work. */
  readonly #open = new Set<string>();
  readonly #seen = new Map<string, Seen>();
  /** Deleted instance → objects of it that were erased. */
  readonly #erased = new Map<string, number>();
  readonly #stops: readonly (() => void)[];
  /** The identifier of the store's data in which all of them were checked; none after an outage, which may end with older data. */
  #lookedAt: string | undefined;

  constructor(options: InstancesDutyOptions) {
    this.#options = options;
    const { own, view } = options;
    this.#stops = [
      view.onChange((changed) => this.#note(changed)),
      own.onState((state) => {
        if (state === "none") this.#lookedAt = undefined;
      }),
    ];
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stops) stop();
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const { view } = this.#options;
    await view.refresh();
    this.#lookAtAll();
    const total = { done: 0, left: 0 };
    let failure: unknown;
    for (const instance of [...this.#open]) {
      if (!context.active()) break;
      // A change from here on adds it again.
      this.#open.delete(instance);
      const { done, left } = await this.#settle(instance, context).catch((error: unknown) => {
        this.#open.add(instance);
        // One that must wait for another region does not hold up the others.
        if (!isExpected(error)) throw error;
        failure ??= error;
        return { done: 0, left: 1 };
      });
      total.done += done;
      total.left += left;
      if (left > 0) this.#open.add(instance);
    }
    if (total.done === 0 && failure !== undefined) throw failure;
    return total;
  }

  /** A store with other data, or older ones, knows nothing of what was done before. */
  #lookAtAll(): void {
    const { view, own } = this.#options;
    const { storeId } = own;
    if (storeId === undefined || storeId !== this.#lookedAt) {
      for (const { instance } of view.all("Instance")) this.#open.add(instance);
    }
    this.#lookedAt = storeId;
  }

  async #settle(instance: string, context: DutyContext): Promise<DutyResult> {
    const record = this.#options.view.get("Instance", instanceRecordId(instance));
    return record === undefined ? { done: 0, left: 0 } : await this.#one(record, context);
  }

  /** An instance's record changed, or one that belongs to it, which must be deleted with the instance. */
  #note(changed: readonly ManagedObject[]): void {
    for (const object of changed) {
      const record = readAnyRecord(object);
      if (record !== undefined && "instance" in record) this.#open.add(record.instance);
    }
  }

  async #one(record: SystemRecord<"Instance">, context: DutyContext): Promise<DutyResult> {
    const { statuses } = this.#options;
    const followed = await statuses.follow(record.instance);
    // The other region has it, and this one's store gets it by catching up.
    if (followed === undefined) return { done: 0, left: 1 };
    const { status, moved } = followed;
    const { done, left } = await this.#advance(record, moved ? 1 : 0, context);
    // The same if the own store has an older record: the view, which knows the newer one, will not report it again.
    const isBehind = status !== "Deleted" && status !== statuses.wanted(record);
    return { done, left: isBehind ? Math.max(1, left) : left };
  }

  async #advance(
    record: SystemRecord<"Instance">,
    moved: number,
    context: DutyContext,
  ): Promise<DutyResult> {
    const { instance, removal, status, destroyed } = record;
    const { configure } = this.#options;
    if (destroyed !== undefined) return await this.#erase(record, destroyed, context);
    if (removal !== undefined && status === "Removing") return await this.#goOn(instance, removal);
    this.#seen.delete(instance);
    if (status === "Configuring") {
      // One that is not ready yet waits for what its regions' leaders find.
      const installed = await configure.install(instance, this.#actor());
      return { done: moved + (installed ? 1 : 0), left: installed ? 0 : 1 };
    }
    return { done: moved, left: 0 };
  }

  /** Leaves a deletion to its handler until nothing has happened for long, by this leader's clock: clocks differ. */
  async #goOn(instance: string, removal: Removal): Promise<DutyResult> {
    const { clock, deletion, abandonedMs = abandonedAfterMs } = this.#options;
    const nowMs = clock.monotonicMs();
    const step = `${removal.id} ${removal.phase}`;
    const seen = this.#seen.get(instance);
    if (seen?.removal !== step) {
      this.#seen.set(instance, { removal: step, sinceMs: nowMs });
      return { done: 0, left: 1 };
    }
    if (nowMs - seen.sinceMs < abandonedMs) return { done: 0, left: 1 };
    await deletion.resume(instance, removal);
    return { done: 1, left: 0 };
  }

  async #erase(
    record: SystemRecord<"Instance">,
    fact: Fact,
    { active }: DutyContext,
  ): Promise<DutyResult> {
    const { deletion } = this.#options;
    const { instance } = record;
    const actor = this.#actor();
    const belongings = await deletion.eraseBelongings(instance, actor);
    const wraps = await deletion.eraseWraps(instance);
    const objects = await deletion.eraseObjects(instance, fact, erasedPerRun, active);
    this.#erased.set(instance, (this.#erased.get(instance) ?? 0) + objects.done);
    const { all } = objects;
    const unproven = belongings.unproven + wraps.unproven + objects.unproven;
    if (all && unproven > 0) await deletion.noteUnproven(instance, unproven, actor);
    if (all) this.#report(record, unproven);
    return { done: objects.done + belongings.done + wraps.done, left: all ? 0 : 1 };
  }

  #actor(): Actor {
    const { node, requestId } = this.#options;
    return { principal: { name: node, id: node }, requestId: requestId() };
  }

  #report({ instance, name }: SystemRecord<"Instance">, unproven: number): void {
    this.#seen.delete(instance);
    const erased = this.#erased.get(instance) ?? 0;
    this.#erased.delete(instance);
    if (erased + unproven === 0) return;
    const left =
      unproven === 0
        ? "none is left"
        : `${unproven} records of it are left that do not prove themselves in any region: they open nothing, and stay in quarantine`;
    const message = `instance ${name} (${instance}) is deleted: ${erased} objects of it are erased in this region, and ${left}`;
    this.#options.observe({ type: "warning", message });
  }
}

function isExpected(error: unknown): boolean {
  return error instanceof ManagementError || error instanceof StoreUnavailable;
}
