import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import type { AuditEvent } from "../../audit/audit-event.ts";
import type { InstanceStore } from "../../ports/instances.ts";
import type { FindQuery, ObjectStore, StoredObject } from "../../ports/objects.ts";
import type { ManagedObject, Register } from "../../record/record.ts";
import { nameItem, sampleObject, sampleRegister } from "./managed-object-conformance.ts";

/** A store to test, and what the suite needs around it. */
export interface ObjectStoreSubject {
  readonly subject: ObjectStore;
  readonly instances: InstanceStore;
  /** Every audit event of an instance so far, oldest first. */
  auditOf(instance: string): Promise<readonly AuditEvent[]>;
  close(): Promise<void>;
}

const pagesMax = 100;

/** Facts of a destroyed object. */
export const destroyedFact = { destroyed: { time: 1_700_000_001, region: "a" } };

/** An instance of its own, and short ways to act in it. */
export class World {
  readonly opened: ObjectStoreSubject;
  readonly store: ObjectStore;
  readonly instance = randomUUID();

  private constructor(opened: ObjectStoreSubject) {
    this.opened = opened;
    this.store = opened.subject;
  }

  static async make(opened: ObjectStoreSubject): Promise<World> {
    const world = new World(opened);
    expect(await opened.instances.ensure(world.instance, "conformance")).toBe("Installed");
    return world;
  }

  object(registers: readonly Register[] = [], id: string = randomUUID()): ManagedObject {
    return sampleObject(this.instance, id, registers);
  }

  named(name: string): ManagedObject {
    return this.object([sampleRegister(nameItem(name), 1)]);
  }

  create(...objects: ManagedObject[]) {
    return this.store.commit(
      this.instance,
      objects.map((after) => ({ kind: "create", after })),
      [auditEvent("create")],
    );
  }

  update(before: StoredObject, after: ManagedObject) {
    return this.store.commit(
      this.instance,
      [{ kind: "update", before, after }],
      [auditEvent("update")],
    );
  }

  async created(object: ManagedObject): Promise<StoredObject> {
    expect(await this.create(object)).toMatchObject({ kind: "committed" });
    return this.get(object.uniqueIdentifier);
  }

  async maybe(id: string): Promise<StoredObject | undefined> {
    const [stored] = await this.store.read(this.instance, [id]);
    return stored;
  }

  async get(id: string): Promise<StoredObject> {
    const stored = await this.maybe(id);
    if (stored === undefined) throw new Error(`${id} does not exist`);
    return stored;
  }

  /** All pages of a find, as identifiers. */
  async find(query: Partial<FindQuery> = {}): Promise<string[]> {
    const ids: string[] = [];
    let after: string | undefined;
    for (let page = 0; page < pagesMax; page++) {
      const { objects, next } = await this.store.find(this.instance, {
        live: true,
        destroyed: false,
        limit: 100,
        ...query,
        ...(after !== undefined && { after }),
      });
      ids.push(...objects.map(({ object }) => object.uniqueIdentifier));
      if (next === undefined) return ids;
      after = next;
    }
    throw new Error(`a find did not end after ${pagesMax} pages`);
  }

  async audit(): Promise<string[]> {
    return (await this.opened.auditOf(this.instance)).map(({ action }) => action);
  }
}

/** An audit event with everything in it. */
export function auditEvent(action: string): AuditEvent {
  return {
    time: 1_700_000_000_000,
    action,
    outcome: "success",
    initiator: "fingerprint",
    target: "target",
    requestId: randomUUID(),
    detail: { version: "1.1", count: 3 },
  };
}
