import { randomBytes, randomUUID } from "node:crypto";
import {
  type FieldChanges,
  InstanceKeyRing,
  kekRecord,
  type ManagedObject,
  makeRecord,
  RootOfTrustError,
  type SystemRecord,
  systemInstance,
  type WrappedKek,
} from "@holdfast/engine";
import {
  MemoryInstanceStore,
  MemoryKekStore,
  MemoryOwnStore,
  MemoryRootOfTrust,
} from "@holdfast/engine/testing";
import { instanceRecordId, Records } from "../records/records.ts";
import { type RootReference, rootChanges } from "../records/root-reference.ts";
import { Roots } from "../roots/open/roots.ts";
import { RewrapKeks } from "../roots/rewrap-keks.ts";
import { ValidateRoots } from "../roots/validate-roots.ts";
import { TestView } from "./system-records.ts";

const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };

/** A reference to one of the roots of trust of `TestRoots`. */
export function namedRoot(rootKey: string): RootReference {
  return { type: "key-protect", instanceId: "m", rootKey, name: rootKey };
}

/** Roots of trust, key ring and records of one region in memory, with a clock that a test sets. */
export class TestRoots {
  nowMs = 1_800_000_000_000;
  /** How far the wall clock is ahead of that. */
  wallAheadMs = 0;
  readonly keks = new MemoryKekStore();
  readonly managers = new Map<string, MemoryRootOfTrust>();
  readonly roots: Roots;
  readonly keyRing: InstanceKeyRing;
  readonly records: Records;
  readonly rewrap: RewrapKeks;
  readonly validate: ValidateRoots;
  readonly opened: string[] = [];
  readonly closed: string[] = [];
  /** The other region's copies of KEKs, if it has any. */
  readonly plain = new Map<string, Uint8Array>();
  readonly view = new TestView();
  readonly #store: MemoryOwnStore;

  /** What the own store does with its keys. */
  rewrapStorageKeys = async () => ({ rewrapped: 0, restored: 0, left: 0 });

  constructor() {
    const clock = { wallMs: () => this.nowMs + this.wallAheadMs, monotonicMs: () => this.nowMs };
    this.#store = new MemoryOwnStore({ instances: new MemoryInstanceStore() });
    const { view } = this;
    this.records = new Records({
      region: "a",
      others: () => [],
      store: this.#store,
      view,
      clock,
      ids,
    });
    this.roots = new Roots({
      region: "a",
      view,
      clock,
      open: async (reference) => {
        const name = reference?.rootKey ?? "default";
        this.opened.push(name);
        return Object.assign(this.manager(name), {
          close: async () => void this.closed.push(name),
        });
      },
    });
    this.keyRing = new InstanceKeyRing({
      rootOf: (...of) => this.roots.rootOf(...of),
      keks: this.keks,
      clock,
      ids,
      observe: () => undefined,
      region: "a",
      kekCacheMs: 10_000,
      graceMs: 60_000,
      fetchPlain: async (_instance, id) => {
        const plain = this.plain.get(id);
        if (plain === undefined) throw new RootOfTrustError("unavailable", "no other region");
        return Uint8Array.from(plain);
      },
    });
    const { roots, keyRing, keks, records } = this;
    const everyMs = 1_000;
    const own = { rewrapStorageKeys: () => this.rewrapStorageKeys() };
    const region = "a";
    this.rewrap = new RewrapKeks({ region, roots, keyRing, keks, own, records, clock, everyMs });
    this.validate = new ValidateRoots({
      region: "a",
      node: "a1",
      roots,
      keyRing,
      records,
      clock,
      graceMs: 60_000,
      requestId: () => "request",
      makesFirst: () => true,
      againMs: 300_000,
      everyMs,
    });
  }

  /** The root of trust with this name; created at its first use. */
  manager(name: string): MemoryRootOfTrust {
    const found = this.managers.get(name) ?? new MemoryRootOfTrust(ids, name);
    this.managers.set(name, found);
    return found;
  }

  /** Creates an instance, under a named root of trust or the configuration's. */
  async instance(instance: string, under?: string): Promise<void> {
    const now = { us: this.nowMs * 1000, region: "a" };
    const values = {
      instance,
      name: instance,
      status: "Installed",
      ...(under !== undefined && rootChanges("a", { current: namedRoot(under) })),
    } as const;
    const after = makeRecord("Instance", instanceRecordId(instance), values, now);
    await this.#store.commit(systemInstance, [{ kind: "create", after }], []);
    this.view.take([after]);
  }

  /** Writes these fields as a node would. */
  async write(instance: string, changes: FieldChanges<"Instance">) {
    await this.records.change("Instance", instanceRecordId(instance), () => changes, []);
  }

  recordOf(instance: string): SystemRecord<"Instance"> {
    const record = this.view.get("Instance", instanceRecordId(instance));
    if (record === undefined) throw new Error(`no instance ${instance}`);
    return record;
  }

  /** Updates the view from the KEK store. */
  async seeKeks(instance: string): Promise<readonly WrappedKek[]> {
    const list = await this.keks.list(instance);
    const now = { us: this.nowMs * 1000, region: "a" };
    this.view.take(list.map((kek) => kekRecord({ instance, kek }, true, now)));
    return list;
  }

  async seal(instance: string) {
    const binding = { instance, uniqueIdentifier: "u", objectType: 2 };
    const sealed = await this.keyRing.seal(binding, Buffer.from("secret"));
    return { open: async () => Buffer.from(await this.keyRing.open(binding, sealed)).toString() };
  }
}

/** A record that belongs to no instance, which roots of trust must ignore. */
export const otherRecord: ManagedObject = makeRecord(
  "Setting",
  randomUUID(),
  { kind: "x", region: "a", node: "a1" },
  { us: 1, region: "a" },
);
