import { type Event, type ManagedObject, StoreUnavailable } from "@holdfast/engine";
import { MemoryOwnStore, sampleObject } from "@holdfast/engine/testing";
import { type MergeOptions, mergeInto } from "../join/merge.ts";
import { instance } from "./test-keys.ts";
import { TestTime } from "./test-time.ts";

/** An own store that records its calls. */
class Counted extends MemoryOwnStore {
  readonly calls: string[] = [];
  /** The copies of other regions that were put aside; undefined where own bytes were. */
  readonly aside: (Uint8Array | undefined)[] = [];
  /** Like Redis at `maxmemory`: nothing new is accepted. */
  full = false;
  override read(...given: Parameters<MemoryOwnStore["read"]>) {
    this.calls.push(`read ${given[1].length}`);
    return super.read(...given);
  }
  override records(...given: Parameters<MemoryOwnStore["records"]>) {
    this.calls.push(`records ${given[1].length}`);
    return super.records(...given);
  }
  override quarantine(...given: Parameters<MemoryOwnStore["quarantine"]>) {
    this.aside.push(given[3].copy);
    return super.quarantine(...given);
  }
  override commit(...given: Parameters<MemoryOwnStore["commit"]>) {
    this.calls.push(`commit ${given[1].length}`);
    if (this.full && given[1].some(({ kind }) => kind === "create")) {
      return Promise.reject(new StoreUnavailable("full", "no room"));
    }
    return super.commit(...given);
  }
}

/** A store that copies of region b are merged into; `results` merges and answers what became of each. */
export async function mergeWorld() {
  const own = new Counted();
  await own.instances.ensure(instance, "test");
  const time = new TestTime();
  const events: Event[] = [];
  const options: MergeOptions = { from: "b", timers: time, observe: (event) => events.push(event) };
  const results = async (objects: readonly ManagedObject[], more: Partial<MergeOptions> = {}) => {
    own.calls.length = 0;
    const merged = await time.until(mergeInto(own, objects, { ...options, ...more }));
    return merged.map(({ result }) => result);
  };
  const get = async (id: string) => (await own.read(instance, [id]))[0]?.object;
  return { own, time, events, results, get };
}

/** The key with this number. */
export function numberedKey(at: number, more: Partial<ManagedObject> = {}): ManagedObject {
  const id = `00000000-0000-4000-8000-${String(at).padStart(12, "0")}`;
  return { ...sampleObject(instance, id), ...more };
}
