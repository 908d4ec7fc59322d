import { randomBytes, randomUUID } from "node:crypto";
import {
  documentRecord,
  InstanceKeyRing,
  instanceRecord,
  kekRecord,
  type ManagedObject,
  RootOfTrustError,
  readDocument,
  systemInstance,
  systemTypes,
  type WrappedKek,
  withFields,
} from "@holdfast/engine";
import {
  MemoryInstanceStore,
  MemoryKekStore,
  MemoryOwnStore,
  MemoryRootOfTrust,
} from "@holdfast/engine/testing";
import { Records } from "../records/records.ts";
import { type RootReference, referenceText, rootFields } from "../records/root-reference.ts";
import { Roots } from "../roots/open/roots.ts";
import { MoveRoots } from "../roots/rewrap.ts";
import { ValidateRoots } from "../roots/validate.ts";

const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };

/** A reference to one of the roots of trust of `TestRoots`. */
export function namedRoot(rootKey: string): RootReference {
  return { type: "key-protect", instanceId: "m", rootKey, name: rootKey };
}

/** Roots of trust, key ring and records of one region in memory, with time that a test moves. */
export class TestRoots {
  nowMs = 1_800_000_000_000;
  readonly keks = new MemoryKekStore();
  readonly managers = new Map<string, MemoryRootOfTrust>();
  readonly roots: Roots;
  readonly keyRing: InstanceKeyRing;
  readonly records: Records;
  readonly moves: MoveRoots;
  readonly validate: ValidateRoots;
  readonly opened: string[] = [];
  readonly closed: string[] = [];
  /** The other region's copy of KEKs, where it has one. */
  readonly plain = new Map<string, Uint8Array>();
  readonly #objects = new Map<string, ManagedObject>();
  readonly #listeners = new Set<(changed: readonly ManagedObject[]) => void>();
  readonly #store: MemoryOwnStore;
  /** As `SystemView.onChange`. */
  readonly listen = (listener: (changed: readonly ManagedObject[]) => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  constructor() {
    const clock = { wallMs: () => this.nowMs, monotonicMs: () => this.nowMs };
    this.#store = new MemoryOwnStore({ instances: new MemoryInstanceStore() });
    const view = {
      documents: (type: number) =>
        [...this.#objects.values()].flatMap((object) => {
          const document = readDocument(object);
          return document?.type === type ? [document] : [];
        }),
      records: () => this.#objects.values(),
      get: (type: number, id: string) => {
        const object = this.#objects.get(id);
        const document = object && readDocument(object);
        return document?.type === type ? document : undefined;
      },
      onChange: this.listen,
      refresh: async () => undefined,
      freshAtMs: 0,
      take: (objects: readonly ManagedObject[]) => this.take(objects),
    };
    this.records = new Records({
      ...{ region: "a", others: () => [], store: this.#store, view, clock, ids },
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
    this.moves = new MoveRoots({ region: "a", roots, keyRing, keks, records, clock });
    this.validate = new ValidateRoots({
      ...{ region: "a", node: "a1", roots, keyRing, records, clock, graceMs: 60_000 },
      requestId: () => "request",
      makesFirst: () => true,
      againMs: 300_000,
    });
  }

  /** The root of trust of a name; made at first need. */
  manager(name: string): MemoryRootOfTrust {
    const found = this.managers.get(name) ?? new MemoryRootOfTrust(ids, name);
    this.managers.set(name, found);
    return found;
  }

  /** Makes an instance, under a root of trust or under the configuration's. */
  async instance(instance: string, under?: string): Promise<void> {
    const now = { us: this.nowMs * 1000, region: "a" };
    const fields = {
      status: "Installed",
      ...(under !== undefined && { [rootFields.current("a")]: referenceText(namedRoot(under)) }),
    };
    const after = withFields(instanceRecord({ instance, name: instance }, now), fields, now);
    await this.#store.commit(systemInstance, [{ kind: "create", after }], []);
    this.take([after]);
  }

  /** As if a node had written these fields. */
  async write(instance: string, fields: Readonly<Record<string, string | undefined>>) {
    const [found] = this.documentsOf(instance);
    await this.records.change(systemTypes.Instance, found?.id ?? "", () => fields, []);
  }

  documentsOf(instance: string) {
    return [...this.#objects.values()].flatMap((object) => {
      const document = readDocument(object);
      return document?.fixed["instance"] === instance ? [document] : [];
    });
  }

  fieldsOf(instance: string): Readonly<Record<string, string>> {
    return this.documentsOf(instance)[0]?.fields ?? {};
  }

  /** Lets the view see what the KEK store has. */
  async seeKeks(instance: string): Promise<readonly WrappedKek[]> {
    const list = await this.keks.list(instance);
    const now = { us: this.nowMs * 1000, region: "a" };
    this.take(list.map((kek) => kekRecord({ instance, kek }, true, now)));
    return list;
  }

  take(objects: readonly ManagedObject[]): void {
    for (const object of objects) this.#objects.set(object.uniqueIdentifier, object);
    for (const listener of this.#listeners) listener(objects);
  }

  async seal(instance: string) {
    const binding = { instance, uniqueIdentifier: "u", objectType: 2 };
    const sealed = await this.keyRing.seal(binding, Buffer.from("secret"));
    return { open: async () => Buffer.from(await this.keyRing.open(binding, sealed)).toString() };
  }
}

/** A document of no instance, which roots of trust have nothing to do with. */
export const otherRecord = documentRecord(
  { type: systemTypes.Setting, id: randomUUID(), fixed: { setting: "x" }, fields: {} },
  { us: 1, region: "a" },
);
