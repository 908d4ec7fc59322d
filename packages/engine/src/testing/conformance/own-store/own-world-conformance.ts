import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import type { InstanceStatus } from "../../../base/instance-status.ts";
import type { InstanceStatuses } from "../../../ports/instances.ts";
import type { Change, CommitOutcome, FindQuery } from "../../../ports/objects.ts";
import type {
  ChangePage,
  Leaf,
  OwnCommitOptions,
  OwnStore,
  OwnStoredObject,
  Reservation,
} from "../../../ports/own-store.ts";
import type { ManagedObject, Register } from "../../../record/record.ts";
import { partitionOf } from "../../../system/partition.ts";
import { nameItem, sampleObject, sampleRegister } from "../managed-object-conformance.ts";

/** A region's own store to test, and what the suite needs around it. */
export interface OwnStoreSubject {
  readonly subject: OwnStore;
  readonly instances: InstanceStatuses;
  /** What an administrator does to an instance. */
  setStatus(instance: string, status: InstanceStatus): Promise<void>;
  /** Changes a record's bytes so that it does not decode; everything else that the store keeps about it stays. */
  damage(instance: string, uniqueIdentifier: string): Promise<void>;
  /** Gives a record the number of the next format, and the tag to match; absent if a store has no bytes. */
  upgrade?(instance: string, uniqueIdentifier: string): Promise<void>;
  close(): Promise<void>;
}

/** A mask that asks for every leaf. */
export const everyLeaf = new Uint8Array(32).fill(255);

const pagesMax = 1_000;

/** An instance of its own, and short ways to act in it. */
export class OwnWorld {
  readonly opened: OwnStoreSubject;
  readonly store: OwnStore;
  readonly instance: string;
  readonly partition: number;

  constructor(opened: OwnStoreSubject, instance: string = randomUUID()) {
    this.opened = opened;
    this.store = opened.subject;
    this.instance = instance;
    this.partition = partitionOf(instance);
  }

  static async make(opened: OwnStoreSubject): Promise<OwnWorld> {
    const world = new OwnWorld(opened);
    expect(await opened.instances.install(world.instance)).toBe("Installed");
    return world;
  }

  /** Another instance in the same partition. */
  async neighbour(): Promise<OwnWorld> {
    for (;;) {
      const instance = randomUUID();
      if (partitionOf(instance) !== this.partition) continue;
      await this.opened.instances.install(instance);
      return new OwnWorld(this.opened, instance);
    }
  }

  object(registers: readonly Register[] = []): ManagedObject {
    return sampleObject(this.instance, randomUUID(), registers);
  }

  named(name: string): ManagedObject {
    return this.object([sampleRegister(nameItem(name), 1)]);
  }

  commit(changes: readonly Change[], options?: OwnCommitOptions): Promise<CommitOutcome> {
    return this.store.commit(this.instance, changes, [], options);
  }

  create(object: ManagedObject, options?: OwnCommitOptions): Promise<CommitOutcome> {
    return this.commit([{ kind: "create", after: object }], options);
  }

  update(
    before: OwnStoredObject,
    after: Partial<ManagedObject>,
    options?: OwnCommitOptions,
  ): Promise<CommitOutcome> {
    return this.commit(
      [{ kind: "update", before, after: { ...before.object, ...after } }],
      options,
    );
  }

  async created(
    object: ManagedObject = this.object(),
    options?: OwnCommitOptions,
  ): Promise<OwnStoredObject> {
    expect(await this.create(object, options)).toEqual({ kind: "committed" });
    return this.get(object.uniqueIdentifier);
  }

  async maybe(id: string): Promise<OwnStoredObject | undefined> {
    const [stored] = await this.store.read(this.instance, [id]);
    return stored;
  }

  async get(id: string): Promise<OwnStoredObject> {
    const stored = await this.maybe(id);
    if (stored === undefined) throw new Error(`${id} does not exist`);
    return stored;
  }

  /** The first page of a find. */
  async found(query: Partial<FindQuery> = {}): Promise<readonly OwnStoredObject[]> {
    const given = { live: true, destroyed: false, limit: 100, ...query };
    return (await this.store.find(this.instance, given)).objects;
  }

  reserve(ids: readonly string[], operation: string) {
    return this.store.reserve(this.instance, ids, operation);
  }

  /** What is reserved in this instance, by operation. */
  async reservations(): Promise<readonly Reservation[]> {
    return (await this.store.reservations()).filter(({ instance }) => instance === this.instance);
  }

  /** The identifiers that an operation holds here, in order. */
  async heldBy(operation: string): Promise<readonly string[]> {
    const held = (await this.reservations()).filter((each) => each.operation === operation);
    return held.flatMap(({ ids }) => ids).toSorted();
  }

  /** The change number of this instance's partition. */
  async number(): Promise<number> {
    const { numbers } = await this.store.position();
    return numbers[this.partition] ?? Number.NaN;
  }

  /** Every page of changes after a number. */
  async pages(after: number, limit = 100, bytesMax = 1 << 20): Promise<readonly ChangePage[]> {
    const pages: ChangePage[] = [];
    for (let from = after; pages.length < pagesMax; ) {
      const page = await this.store.changes(this.partition, from, limit, bytesMax);
      pages.push(page);
      if (page.upTo >= page.last) return pages;
      expect(page.upTo).toBeGreaterThan(from);
      from = page.upTo;
    }
    throw new Error(`changes did not end after ${pagesMax} pages`);
  }

  /** This instance's identifiers among the changes after a number. */
  async changed(after: number): Promise<readonly string[]> {
    return (await this.pages(after)).flatMap(({ objects }) =>
      objects
        .filter(({ instance }) => instance === this.instance)
        .map(({ uniqueIdentifier }) => uniqueIdentifier),
    );
  }

  /** Every leaf of this instance's partition that a mask asks for. */
  async leaves(mask: Uint8Array = everyLeaf): Promise<readonly Leaf[]> {
    const leaves: Leaf[] = [];
    let after: number | undefined;
    for (let page = 0; page < pagesMax; page += 1) {
      const { leaves: some, next } = await this.store.leaves(this.partition, mask, after);
      leaves.push(...some);
      if (next === undefined) return leaves;
      after = next;
    }
    throw new Error(`leaves did not end after ${pagesMax} pages`);
  }
}

/** Identifiers of objects, in order. */
export function idsOf(...objects: readonly (OwnStoredObject | ManagedObject)[]): string[] {
  return objects.map((each) => ("object" in each ? each.object : each).uniqueIdentifier).toSorted();
}

/** Facts of a destroyed object, and no material. */
export const destroyed = {
  material: undefined,
  facts: { destroyed: { time: 1_700_000_001, region: "a" } },
} as const;

/** What a call is refused with: the failure of its `StoreUnavailable`. */
export async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    (answer) => ({ resolved: answer }),
    (error: unknown) => (error as { readonly failure?: unknown }).failure ?? error,
  );
}
