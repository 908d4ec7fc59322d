import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  deletionRegion,
  type Fact,
  InstanceKeyRing,
  type ManagedObject,
  makeRecord,
  ObjectKekStore,
  partitionOf,
  resealed,
  sealDigests,
  systemInstance,
  withDestroyed,
  withoutSealedDigest,
} from "@holdfast/engine";
import { MemoryOwnStore, MemoryRootOfTrust, sampleObject } from "@holdfast/engine/testing";
import { attributeItem } from "@holdfast/kmip";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  systemClock as clock,
  systemIds as ids,
  systemClock as timers,
} from "../../base/system.ts";
import { instanceRecordId } from "../../records/records.ts";
import type { BackupKey } from "../archive/archive-format.ts";
import { ArchiveReader } from "../archive/archive-reader.ts";
import { scanArchive } from "../archive/scan.ts";
import { createBackup } from "../create.ts";
import type { SystemStore } from "./archived-system.ts";
import { restoreIntoNew } from "./new-instance.ts";

const key: BackupKey = { version: 1, key: ids.randomBytes(32) };
const root = new MemoryRootOfTrust(ids);
const deleted = "4e9f2d9a-63c2-4f42-8f3c-8f6a4b7d3c10";
const us = 1_700_000_000_000_000;
const others = async () => "absent" as const;
const deletion: Fact = { time: us / 1e6 + 100, region: deletionRegion };
let fresh = ids.uuid();
while (partitionOf(fresh) === partitionOf(deleted)) fresh = ids.uuid();
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-anew-"));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function keyRingOf(store: SystemStore): InstanceKeyRing {
  const keks = new ObjectKekStore(store, { clock, region: "a" });
  const observe = (): void => undefined;
  const times = { kekCacheMs: 1e9, graceMs: 1e9 };
  return new InstanceKeyRing({
    rootOf: () => root,
    keks,
    clock,
    ids,
    observe,
    region: "a",
    ...times,
  });
}

class Site {
  readonly store = new MemoryOwnStore();
  readonly keyRing = keyRingOf(this.store);

  get own() {
    const { store } = this;
    return Object.assign(store, {
      install: (id: string) => store.instances.install(id),
      status: async (id: string) => store.instances.statusOf(id),
    });
  }

  async create(after: ManagedObject): Promise<ManagedObject> {
    expect((await this.store.commit(after.instance, [{ kind: "create", after }], [])).kind).toBe(
      "committed",
    );
    return after;
  }

  async order(id: string, name: string): Promise<void> {
    await this.store.instances.install(id);
    await this.create(
      makeRecord("Instance", instanceRecordId(id), { instance: id, name }, { us, region: "a" }),
    );
  }

  async key(text: string): Promise<ManagedObject> {
    const bare = sampleObject(deleted, ids.uuid());
    const { uniqueIdentifier, objectType } = bare;
    const binding = { instance: deleted, uniqueIdentifier, objectType };
    const material = await this.keyRing.seal(binding, Buffer.from(text));
    const digest = attributeItem("Digest", { hashingAlgorithm: "SHA_256", digestValue: key.key });
    const sealed = await sealDigests(this.keyRing, binding, [digest]);
    expect(sealed).toHaveLength(1);
    return await this.create({ ...bare, fixed: [...bare.fixed, ...sealed], material });
  }

  async change(
    { instance, uniqueIdentifier }: ManagedObject,
    change: Partial<ManagedObject>,
  ): Promise<void> {
    const [before] = await this.store.read(instance, [uniqueIdentifier]);
    if (before === undefined) throw new Error("nothing to change");
    const lastChange = before.object.lastChange + 1;
    const after = { ...before.object, ...change, lastChange };
    const outcome = await this.store.commit(instance, [{ kind: "update", before, after }], [], {
      joined: true,
    });
    expect(outcome.kind).toBe("committed");
  }

  async backup(): Promise<string> {
    const file = join(folder, ids.uuid());
    const source = { own: this.store, others, statuses: this.own, region: "a", holdfast: "0" };
    await createBackup(file, source, { key, ids, clock });
    return file;
  }

  /** Leaves the store as an instance's deletion does. */
  async delete(): Promise<void> {
    for (const { object } of (
      await this.store.find(deleted, { live: true, destroyed: false, limit: 99 })
    ).objects) {
      await this.change(object, {
        facts: { ...object.facts, destroyed: deletion },
        material: undefined,
      });
    }
    const record = makeRecord(
      "Instance",
      instanceRecordId(deleted),
      { instance: deleted, name: "old" },
      { us, region: "a" },
    );
    const { facts } = withDestroyed(record, { us: deletion.time * 1e6, region: "a" });
    await this.change(record, { facts });
    this.store.instances.setStatus(deleted, "Deleted");
  }

  async restore(file: string, { apply = true, into = "new" } = {}) {
    await using reader = await ArchiveReader.open(file, [key]);
    const scanned = await scanArchive(reader);
    const target = { own: this.own, peers: [], timers, observe: () => undefined };
    const audit = [
      { time: 1, action: "backup.restore", outcome: "pending", initiator: "me", requestId: "r" },
    ] as const;
    return await restoreIntoNew(
      reader,
      scanned,
      target,
      { deleted, into },
      {
        apply,
        region: "a",
        openKeyRing: async (store) => {
          const keyRing = store === this.own ? this.keyRing : keyRingOf(store);
          return {
            open: (...args) => keyRing.open(...args),
            seal: (...args) => keyRing.seal(...args),
            [Symbol.asyncDispose]: async () => undefined,
          };
        },
        audit,
      },
    );
  }

  async opened(object: ManagedObject): Promise<string | undefined> {
    const { uniqueIdentifier, objectType } = object;
    const [stored] = await this.store.read(fresh, [uniqueIdentifier]);
    const material = stored?.object.material;
    if (material === undefined) return undefined;
    const plain = await this.keyRing.open(
      { instance: fresh, uniqueIdentifier, objectType },
      material,
    );
    return Buffer.from(plain).toString();
  }
}

async function deletedSite() {
  const site = new Site();
  await site.order(deleted, "old");
  const [one, two, three] = [await site.key("one"), await site.key("two"), await site.key("three")];
  const destroyed = await site.key("destroyed before the backup");
  await site.change(destroyed, {
    facts: { destroyed: { time: us / 1e6 + 1, region: "a" } },
    material: undefined,
  });
  const file = await site.backup();
  // After the backup, and before the instance was deleted.
  await site.change(two, {
    facts: { destroyed: { time: us / 1e6 + 50, region: "a" } },
    material: undefined,
  });
  await site.change(three, { facts: { activated: { time: us / 1e6 + 60, region: "a" } } });
  await site.delete();
  await site.order(fresh, "new");
  return { site, file, one, two, three, destroyed };
}

describe("a deleted instance's backup", () => {
  test("is restored into a new instance only, sealed anew; objects destroyed one by one stay destroyed", async () => {
    const { site, file, one, two, three, destroyed } = await deletedSite();
    const told = await site.restore(file, { apply: false });
    expect(told).toMatchObject({ name: "new", restored: 2, destroyed: 2, already: 0, failures: 0 });
    expect(await site.opened(one)).toBeUndefined();
    const done = await site.restore(file);
    expect(done).toMatchObject({ restored: 2, destroyed: 2, already: 0, failures: 0 });
    expect(await site.opened(one)).toBe("one");
    expect(await site.opened(three)).toBe("three");
    for (const gone of [two, destroyed]) {
      const [stored] = await site.store.read(fresh, [gone.uniqueIdentifier]);
      expect(stored?.object.facts.destroyed?.region).toBe("a");
      expect(stored?.object.material).toBeUndefined();
    }
    const [activated] = await site.store.read(fresh, [three.uniqueIdentifier]);
    expect(activated?.object.facts.activated?.time).toBe(us / 1e6 + 60);
    // The old one stays deleted, with its marks, and its key seals nothing of the new one.
    const [tomb] = await site.store.read(deleted, [one.uniqueIdentifier]);
    expect(tomb?.object.facts.destroyed).toEqual(deletion);
    expect(site.store.instances.statusOf(deleted)).toBe("Deleted");
    const [now] = await site.store.read(fresh, [one.uniqueIdentifier]);
    expect(now?.object.material?.kekId).not.toBe(one.material?.kekId);
    expect(now?.object.fixed).toEqual(withoutSealedDigest(one.fixed));
    const events = site.store.auditOf(systemInstance).map(({ action }) => action);
    expect(events).toEqual(["backup.restore"]);
  });

  test("can be restored there again, and seals nothing twice", async () => {
    const { site, file, one } = await deletedSite();
    await site.restore(file);
    const [before] = await site.store.read(fresh, [one.uniqueIdentifier]);
    expect(await site.restore(file)).toMatchObject({ restored: 0, already: 4, failures: 0 });
    const [after] = await site.store.read(fresh, [one.uniqueIdentifier]);
    expect(after?.tag).toBe(before?.tag);
  });

  test("is refused if the new instance has objects, is missing or Inactive, or the old one is not deleted", async () => {
    const { site, file } = await deletedSite();
    await expect(site.restore(file, { into: "nowhere" })).rejects.toThrow(/instance not found/);
    await expect(site.restore(file, { into: deleted })).rejects.toThrow(/instance not found/);
    site.store.instances.setStatus(fresh, "Inactive");
    await expect(site.restore(file)).rejects.toThrow(/it is Inactive/);
    site.store.instances.setStatus(fresh, "Installed");
    await site.create(sampleObject(fresh, ids.uuid()));
    await expect(site.restore(file)).rejects.toThrow(/it has 1 objects of its own/);
    const living = new Site();
    await living.order(deleted, "old");
    await living.order(fresh, "new");
    await expect(living.restore(file)).rejects.toThrow(
      /no instance with this identifier was deleted/,
    );
  });

  test("leaves destroyed what was destroyed after a rekey, and restores nothing that contradicts its mark", async () => {
    const site = new Site();
    await site.order(deleted, "old");
    const [gone, kept, other] = [await site.key("1"), await site.key("2"), await site.key("3")];
    const file = await site.backup();
    const kek = await site.keyRing.rekey(deleted, []);
    for (const object of [gone, kept, other]) {
      const { fixed, material } = await resealed(site.keyRing, object, { kek });
      await site.change(object, { fixed, material });
    }
    const destroyed = { time: us / 1e6 + 50, region: "a" };
    await site.change(gone, { facts: { destroyed }, material: undefined });
    await site.change(other, { fixed: [], facts: { destroyed }, material: undefined });
    await site.delete();
    await site.order(fresh, "new");
    const done = await site.restore(file);
    expect(done).toMatchObject({ restored: 1, destroyed: 1, failures: 1 });
    expect(done.failed).toMatchObject([{ uniqueIdentifier: other.uniqueIdentifier }]);
    expect(await site.opened(kept)).toBe("2");
    expect(await site.opened(gone)).toBeUndefined();
    expect(await site.opened(other)).toBeUndefined();
    const [mark] = await site.store.read(fresh, [gone.uniqueIdentifier]);
    expect(mark?.object.facts.destroyed).toEqual(destroyed);
  });

  test("reports each object as failed if its root key is gone", async () => {
    const { site, file } = await deletedSite();
    root.fail("gone");
    try {
      const report = await site.restore(file, { apply: false });
      expect(report.failures).toBe(2);
      expect(report.failed[0]?.reason).toMatch(/./);
    } finally {
      root.fail(undefined);
    }
  });
});
