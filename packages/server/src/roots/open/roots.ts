import {
  type Clock,
  type ManagedObject,
  type RootOfTrust,
  readRecord,
  type SystemRecord,
  type WrappedKek,
  wrappedKek,
} from "@holdfast/engine";
import { type NamedRoots, namedRoots, type RootReference } from "../../records/root-reference.ts";
import type { SystemView } from "../../records/system-view.ts";
import type { GuardedRoot, RootHealth } from "./guarded-root.ts";
import { keyOf, RootPool } from "./root-pool.ts";

interface RootsOptions {
  readonly region: string;
  readonly view: Pick<SystemView, "records" | "of" | "onChange" | "refresh" | "freshAtMs">;
  /** Opens the root of trust of a reference; undefined is the configuration's own root of trust. */
  readonly open: (reference: RootReference | undefined) => Promise<RootOfTrust>;
  readonly clock: Clock;
  /** Called when a root of trust starts or stops working, with the instances under it. */
  readonly changed?: (instances: readonly string[], health: RootHealth) => void;
}

/** An open root of trust, and the instances under it. */
export interface RootInUse {
  /** Undefined: the configuration's root of trust. */
  readonly reference: RootReference | undefined;
  readonly root: GuardedRoot;
  readonly instances: readonly string[];
}

/** An instance's record, and the roots of trust that it names for this region. */
interface Seen {
  readonly record: SystemRecord<"Instance">;
  readonly named: NamedRoots;
  /** The keys of the references. */
  readonly keys: readonly string[];
}

const noRoots: NamedRoots = { current: undefined, next: undefined, left: [] };
const lookAgainMs = 1_000;
const trimEveryMs = 10_000;

/** Which root of trust serves which instance in this region. Each is opened once for all instances that name it. */
export class Roots implements AsyncDisposable {
  readonly #options: RootsOptions;
  readonly #pool: RootPool;
  readonly #timer: NodeJS.Timeout;
  readonly #instances = new Map<string, Seen>();
  /** By the key of a reference. */
  readonly #under = new Map<string, Set<string>>();
  readonly #stop: () => void;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;

  constructor(options: RootsOptions) {
    this.#options = options;
    const { open, clock, view } = options;
    for (const record of view.records()) this.#take(record);
    this.#stop = view.onChange((changed) => {
      for (const record of changed) this.#take(record);
    });
    this.#pool = new RootPool({
      open,
      clock,
      changed: (key, health) => options.changed?.(this.#instancesUnder(key), health),
    });
    this.#timer = setInterval(() => void this.#trim(), trimEveryMs).unref();
  }

  /** As `KeyRingOptions.rootOf`. */
  async rootOf(instance: string, madeBy?: string): Promise<GuardedRoot> {
    await this.#seen();
    const named = this.named(instance);
    // New keys go directly under the next root of trust, so they need not be moved.
    if (madeBy === undefined) return await this.#pool.of(named.next ?? named.current);
    return (
      (await this.#madeBy(named, madeBy)) ??
      (await this.#lookAgain(instance, madeBy)) ??
      (await this.#pool.of(this.named(instance).current))
    );
  }

  /** The roots of trust that an instance's record names for this region. */
  named(instance: string): NamedRoots {
    return this.#instances.get(instance)?.named ?? noRoots;
  }

  /** An instance's record; undefined if it was deleted or has not been seen. */
  record(instance: string): SystemRecord<"Instance"> | undefined {
    return this.#instances.get(instance)?.record;
  }

  /** Instances that are not deleted. */
  instances(): readonly string[] {
    return [...this.#instances.keys()];
  }

  /** KEKs of an instance, as known to this node. */
  keks(instance: string): readonly WrappedKek[] {
    return [...this.#options.view.of("Kek", instance).values()].map((kek) => wrappedKek(kek).kek);
  }

  /** The root of trust of a reference, shared by all references to the same one. */
  of(reference: RootReference | undefined): Promise<GuardedRoot> {
    return this.#pool.of(reference);
  }

  /** An instance's root of trust if it is open. */
  ready(instance: string): GuardedRoot | undefined {
    return this.#pool.ready(this.named(instance).current);
  }

  /** Open roots of trust, with or without instances under them. */
  inUse(): readonly RootInUse[] {
    return this.#pool
      .all()
      .map((each) => ({ ...each, instances: this.#instancesUnder(keyOf(each.reference)) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#stop();
    await this.#pool[Symbol.asyncDispose]();
  }

  /** Reads the records before the first use: they say which root of trust an instance has. */
  async #seen(): Promise<void> {
    if (this.#options.view.freshAtMs === undefined) await this.#options.view.refresh();
  }

  /** Searches the known names first. Only if none matches, it asks the roots of trust whose names are unknown. */
  async #madeBy(named: NamedRoots, name: string): Promise<GuardedRoot | undefined> {
    // The configuration's root of trust comes last: an instance may have been moved from there.
    const all = [...references(named), { reference: undefined }];
    const known = all.find((reference) => this.#nameOf(reference) === name);
    if (known !== undefined) return await this.#pool.of(known.reference);
    for (const each of all) {
      if (this.#nameOf(each) !== undefined) continue;
      const root = await this.#pool.of(each.reference);
      if ((await root.describe()).name === name) return root;
    }
    return undefined;
  }

  #nameOf({ reference }: { readonly reference: RootReference | undefined }): string | undefined {
    return reference?.name ?? this.#pool.ready(reference)?.lastDescription?.name;
  }

  /** Reads the records again: another node may have just moved the instance. */
  async #lookAgain(instance: string, madeBy: string): Promise<GuardedRoot | undefined> {
    const { clock, view } = this.#options;
    if (this.#looking === undefined && clock.monotonicMs() - this.#lookedMs < lookAgainMs) {
      return undefined;
    }
    // All that ask meanwhile wait for the same look.
    this.#looking ??= view.refresh().finally(() => {
      this.#lookedMs = clock.monotonicMs();
      this.#looking = undefined;
    });
    await this.#looking.catch(() => undefined);
    return await this.#madeBy(this.named(instance), madeBy);
  }

  #instancesUnder(key: string): readonly string[] {
    return [...(this.#under.get(key) ?? [])];
  }

  #take(object: ManagedObject): void {
    const record = readRecord("Instance", object);
    if (record === undefined) return;
    const { instance } = record;
    for (const key of this.#instances.get(instance)?.keys ?? []) {
      const others = this.#under.get(key);
      others?.delete(instance);
      if (others?.size === 0) this.#under.delete(key);
    }
    this.#instances.delete(instance);
    if (record.destroyed !== undefined) return;
    const named = namedRoots(record, this.#options.region);
    const keys = references(named).map(({ reference }) => keyOf(reference));
    this.#instances.set(instance, { record, named, keys });
    for (const key of keys) {
      const under = this.#under.get(key) ?? new Set<string>();
      this.#under.set(key, under.add(instance));
    }
  }

  async #trim(): Promise<void> {
    await this.#pool.keep(new Set(["", ...this.#under.keys()]));
  }
}

/** All roots of trust that an instance's record names for a region, the current one first. */
function references({ current, next, left }: NamedRoots) {
  return [
    { reference: current },
    ...(next === undefined ? [] : [{ reference: next }]),
    ...left.map(({ reference }) => ({ reference: reference as RootReference | undefined })),
  ];
}
