import { ManagementError } from "@holdfast/admin";
import {
  type Clock,
  type Document,
  type Fact,
  type ManagedObject,
  type OwnStore,
  readDocument,
  readKekRecord,
  StoreUnavailable,
  systemTypes,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "@holdfast/regions";
import type { Actor } from "../../audit/management-event.ts";
import type { NodeObserver } from "../../observe/events.ts";
import { instanceRecordId } from "../../records/records.ts";
import type { SystemView } from "../../records/system-view.ts";
import type { ConfigureInstance } from "./configure.ts";
import type { Deletion } from "./deletion.ts";
import { type InstanceEntry, type Removal, readInstance } from "./instance-entry.ts";
import type { StatusFollower } from "./status-follower.ts";

export interface InstancesDutyOptions {
  readonly node: string;
  readonly own: Pick<OwnStore, "storeId">;
  readonly view: Pick<SystemView, "documents" | "get" | "refresh" | "onChange">;
  readonly statuses: Pick<StatusFollower, "follow">;
  readonly deletion: Pick<
    Deletion,
    "resume" | "holdings" | "eraseBelongings" | "eraseWraps" | "eraseObjects"
  >;
  readonly configure: Pick<ConfigureInstance, "install">;
  readonly clock: Clock;
  readonly requestId: () => string;
  readonly observe: NodeObserver;
  /** For how long a leader has seen a deletion that does not go on before it takes it up; 5,000 unless given. */
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
 * Keeps every instance's status in the region's own store as its record says, makes one Installed whose root of trust is
 * usable in every region, goes on with deletions that were left half done, and erases what deleted instances held.
 */
export class InstancesDuty implements Duty, Disposable {
  readonly name = "instances";
  readonly everyMs = everyMs;
  readonly #options: InstancesDutyOptions;
  /** Instances that something may be left to do for. */
  readonly #open = new Set<string>();
  readonly #seen = new Map<string, Seen>();
  /** Deleted instance → objects of it that were erased. */
  readonly #erased = new Map<string, number>();
  readonly #stop: () => void;
  /** The store's data that all of them were looked at in. */
  #lookedAt: string | undefined;

  constructor(options: InstancesDutyOptions) {
    this.#options = options;
    this.#stop = options.view.onChange((changed) => this.#note(changed));
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const { view, deletion } = this.#options;
    await view.refresh();
    this.#lookAtAll();
    const total = { done: 0, left: 0 };
    let failure: unknown;
    const held = once(() => deletion.holdings());
    for (const instance of [...this.#open]) {
      if (!context.active()) break;
      // What changes from here on opens it again.
      this.#open.delete(instance);
      const { done, left } = await this.#settle(instance, held, context).catch((error: unknown) => {
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

  /** A store with other data knows nothing of what was done before. */
  #lookAtAll(): void {
    const { view, own } = this.#options;
    const { storeId } = own;
    if (storeId === undefined || storeId !== this.#lookedAt) {
      for (const { fixed } of view.documents(systemTypes.Instance)) {
        this.#open.add(fixed["instance"] ?? "");
      }
    }
    this.#lookedAt = storeId;
  }

  async #settle(
    instance: string,
    held: () => ReadonlyMap<string, readonly ManagedObject[]>,
    context: DutyContext,
  ): Promise<DutyResult> {
    const document = this.#options.view.get(systemTypes.Instance, instanceRecordId(instance));
    const entry = document && readInstance(document);
    if (document === undefined || entry === undefined) return { done: 0, left: 0 };
    return await this.#one(entry, document, held, context);
  }

  /** An instance's record changed, or what belongs to it: of a deleted one that must go too. */
  #note(changed: readonly ManagedObject[]): void {
    for (const record of changed) {
      const instance = readKekRecord(record)?.instance ?? readDocument(record)?.fixed["instance"];
      if (instance !== undefined) this.#open.add(instance);
    }
  }

  async #one(
    entry: InstanceEntry,
    document: Document,
    held: () => ReadonlyMap<string, readonly ManagedObject[]>,
    context: DutyContext,
  ): Promise<DutyResult> {
    const { statuses, configure } = this.#options;
    const followed = await statuses.follow(entry.id);
    // The other region has it, and this one's store gets it by catching up.
    if (followed === undefined) return { done: 0, left: 1 };
    const moved = followed.moved ? 1 : 0;
    if (document.destroyed !== undefined) {
      return await this.#erase(entry, document.destroyed, held().get(entry.id) ?? [], context);
    }
    if (entry.removal !== undefined && entry.wanted === "Removing") {
      return await this.#goOn(entry, entry.removal);
    }
    this.#seen.delete(entry.id);
    if (entry.wanted === "Configuring") {
      // One that is not ready yet waits for what its regions' leaders find.
      const installed = await configure.install(entry.id, this.#actor());
      return { done: moved + (installed ? 1 : 0), left: installed ? 0 : 1 };
    }
    return { done: moved, left: 0 };
  }

  /** A deletion is its handler's until nothing has happened for long; by this leader's clock, since clocks differ. */
  async #goOn(entry: InstanceEntry, removal: Removal): Promise<DutyResult> {
    const { clock, deletion, abandonedMs = abandonedAfterMs } = this.#options;
    const nowMs = clock.monotonicMs();
    const step = `${removal.id} ${removal.phase}`;
    const seen = this.#seen.get(entry.id);
    if (seen?.removal !== step) {
      this.#seen.set(entry.id, { removal: step, sinceMs: nowMs });
      return { done: 0, left: 1 };
    }
    if (nowMs - seen.sinceMs < abandonedMs) return { done: 0, left: 1 };
    await deletion.resume(entry.id, removal);
    return { done: 1, left: 0 };
  }

  async #erase(
    entry: InstanceEntry,
    fact: Fact,
    held: readonly ManagedObject[],
    { active }: DutyContext,
  ): Promise<DutyResult> {
    const { deletion } = this.#options;
    const belongings = await deletion.eraseBelongings(entry.id, this.#actor(), held);
    const wraps = await deletion.eraseWraps(held);
    const { done, all } = await deletion.eraseObjects(entry.id, fact, erasedPerRun, active);
    this.#erased.set(entry.id, (this.#erased.get(entry.id) ?? 0) + done);
    if (all) this.#tell(entry);
    return { done: done + belongings + wraps, left: all ? 0 : 1 };
  }

  #actor(): Actor {
    const { node, requestId } = this.#options;
    return { principal: { name: node, id: node }, requestId: requestId() };
  }

  #tell(entry: InstanceEntry): void {
    this.#seen.delete(entry.id);
    const erased = this.#erased.get(entry.id) ?? 0;
    this.#erased.delete(entry.id);
    if (erased === 0) return;
    const message = `instance ${entry.name} (${entry.id}) is deleted: ${erased} objects of it are erased in this region, and none is left`;
    this.#options.observe({ type: "warning", message });
  }
}

/** The same answer for all who ask, made when it is first asked for. */
function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function isExpected(error: unknown): boolean {
  return error instanceof ManagementError || error instanceof StoreUnavailable;
}
