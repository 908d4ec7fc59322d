import {
  type KekEntry,
  type ManagedObject,
  readKekRecord,
  systemTypes,
  type WrappedKek,
} from "@holdfast/engine";
import type { SystemView } from "../../records/system-view.ts";

/** The wrapped KEKs of all instances as the view shows them. */
export class KekIndex implements Disposable {
  readonly #entries = new Map<string, KekEntry>();
  readonly #byInstance = new Map<string, Map<string, WrappedKek>>();
  readonly #stop: () => void;

  constructor(view: Pick<SystemView, "records" | "onChange">) {
    for (const record of view.records()) this.#take(record);
    this.#stop = view.onChange((changed) => {
      for (const record of changed) this.#take(record);
    });
  }

  /** Those of an instance. */
  of(instance: string): readonly WrappedKek[] {
    return [...(this.#byInstance.get(instance)?.values() ?? [])];
  }

  /** Instances that have any. */
  instances(): Iterable<string> {
    return this.#byInstance.keys();
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  #take(record: ManagedObject): void {
    if (record.objectType !== systemTypes.Kek) return;
    const { uniqueIdentifier: id } = record;
    const known = this.#entries.get(id);
    if (known !== undefined) this.#forget(known);
    const entry = record.facts.destroyed === undefined ? readKekRecord(record) : undefined;
    if (entry === undefined) return;
    this.#entries.set(id, entry);
    const keks = this.#byInstance.get(entry.instance) ?? new Map<string, WrappedKek>();
    this.#byInstance.set(entry.instance, keks.set(id, entry.kek));
  }

  #forget({ instance, kek }: KekEntry): void {
    this.#entries.delete(kek.id);
    const keks = this.#byInstance.get(instance);
    keks?.delete(kek.id);
    if (keks?.size === 0) this.#byInstance.delete(instance);
  }
}
