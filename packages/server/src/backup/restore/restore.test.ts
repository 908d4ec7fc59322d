import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  kekRecord,
  type ManagedObject,
  makeRecord,
  readKekRecord,
  stateCounts,
  systemInstance,
  withDestroyed,
  withoutKekWraps,
} from "@holdfast/engine";
import { MemoryOwnStore, sampleObject } from "@holdfast/engine/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock, systemIds } from "../../base/system.ts";
import { instanceRecordId } from "../../records/records.ts";
import type { BackupKey } from "../archive/archive-format.ts";
import { ArchiveReader } from "../archive/archive-reader.ts";
import { scanArchive } from "../archive/scan.ts";
import { createBackup } from "../create.ts";
import { type RestoreReport, type RestoreTarget, reportLines, restoreArchive } from "./restore.ts";

const key: BackupKey = { version: 1, key: systemIds.randomBytes(32) };
const at = { time: 7, region: "a" };
const others = async () => "absent" as const;
const instance = "4e9f2d9a-63c2-4f42-8f3c-8f6a4b7d3c10";
const nothing: RestoreReport = {
  made: 0,
  added: 0,
  known: 0,
  newer: 0,
  destroyed: 0,
  deleted: 0,
  contradicting: 0,
  left: 0,
  instances: [],
};
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-restore-"));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

class Site {
  readonly store = new MemoryOwnStore({ storeId: systemIds.uuid() });
  #made = 0;

  get own() {
    const { store } = this;
    return Object.assign(store, {
      install: (id: string) => store.instances.install(id),
      status: async (id: string) => store.instances.statusOf(id),
    });
  }

  async install(id: string): Promise<void> {
    await this.store.instances.install(id);
    await this.create(instanceRecord(id));
  }

  async create(after: ManagedObject): Promise<ManagedObject> {
    const outcome = await this.store.commit(after.instance, [{ kind: "create", after }], []);
    expect(outcome.kind).toBe("committed");
    return after;
  }

  async change(object: ManagedObject, change: Partial<ManagedObject>): Promise<void> {
    const [before] = await this.store.read(object.instance, [object.uniqueIdentifier]);
    if (before === undefined) throw new Error("nothing to change");
    const lastChange = before.object.lastChange + 1;
    const after = { ...before.object, ...change, lastChange };
    await this.store.commit(object.instance, [{ kind: "update", before, after }], []);
  }

  async get(object: ManagedObject): Promise<ManagedObject | undefined> {
    const [stored] = await this.store.read(object.instance, [object.uniqueIdentifier]);
    return stored?.object;
  }

  async backup(): Promise<string> {
    this.#made += 1;
    const file = join(folder, `backup-${this.#made}`);
    const source = { own: this.store, others, statuses: this.own, region: "a", holdfast: "0" };
    await createBackup(file, source, {
      key,
      ids: systemIds,
      clock: { ...systemClock, wallMs: () => 1_800_000_000_000 },
    });
    return file;
  }

  async restore(
    file: string,
    {
      apply = true,
      peers = [],
      timers = systemClock,
    }: Partial<Pick<RestoreTarget, "peers" | "timers">> & { apply?: boolean } = {},
  ): Promise<RestoreReport> {
    await using reader = await ArchiveReader.open(file, [key]);
    const scanned = await scanArchive(reader);
    const target = { own: this.own, peers, timers, observe: () => undefined };
    return await restoreArchive(reader, scanned, target, { apply });
  }
}

function instanceRecord(of: string): ManagedObject {
  const values = { instance: of, name: "kmip-1" };
  return makeRecord("Instance", instanceRecordId(of), values, { us: 1, region: "a" });
}

async function filled(count = 3): Promise<{ site: Site; objects: ManagedObject[] }> {
  const site = new Site();
  await site.install(instance);
  const objects: ManagedObject[] = [];
  for (let made = 0; made < count; made++) {
    objects.push(await site.create(sampleObject(instance, systemIds.uuid())));
  }
  return { site, objects };
}

describe("a backup", () => {
  test("restores everything into an empty store, also more than one page", async () => {
    const { site, objects } = await filled(600);
    const file = await site.backup();
    const empty = new Site();
    const report = await empty.restore(file);
    expect(report).toEqual({ ...nothing, made: 601, instances: [instance] });
    for (const object of objects) expect(await empty.get(object)).toEqual(object);
    expect(await empty.store.counts(instance)).toEqual(stateCounts({ PreActive: 600 }));
    expect(empty.store.instances.statusOf(instance)).toBe("Installed");
  });

  test("reports what a restore would do, and writes nothing, without `apply`", async () => {
    const { site, objects } = await filled();
    const file = await site.backup();
    const empty = new Site();
    const report = await empty.restore(file, { apply: false });
    expect(report).toEqual({ ...nothing, made: 4, instances: [instance] });
    expect(await empty.get(objects[0] as ManagedObject)).toBeUndefined();
    expect((await empty.store.position()).numbers.every((number) => number === 0)).toBe(true);
    expect(empty.store.instances.statusOf(instance)).toBeUndefined();
    expect(reportLines(report, false)[0]).toBe("4 records would be made");
  });

  test("can be restored again, which changes nothing", async () => {
    const { site } = await filled();
    const file = await site.backup();
    const empty = new Site();
    await empty.restore(file);
    const before = await empty.store.position();
    expect(await empty.restore(file)).toEqual({ ...nothing, known: 4 });
    expect((await empty.store.position()).numbers).toEqual(before.numbers);
  });

  test("counts what it put into quarantine, also where that was not seen before", async () => {
    const { site, objects } = await filled();
    const [one, two] = objects as [ManagedObject, ManagedObject];
    const file = await site.backup();
    const other = new Site();
    await other.install(instance);
    await other.create({ ...one, fixed: [] });
    await other.create({ ...two, fixed: [] });
    // A client makes it while the restore is under way.
    const records = other.store.records.bind(other.store);
    other.store.records = async (...asked) => {
      const found = await records(...asked);
      const { uniqueIdentifier: unseen } = two;
      const seen = found.objects.filter(({ uniqueIdentifier }) => uniqueIdentifier !== unseen);
      return { ...found, objects: seen };
    };
    expect(await other.restore(file)).toMatchObject({ contradicting: 2, left: 0 });
    expect(await other.store.quarantined()).toBe(2);
    expect((await other.get(one))?.fixed).toEqual([]);
  });

  test("overwrites nothing newer, and restores nothing that was destroyed since", async () => {
    const { site, objects } = await filled();
    const [one, two, three] = objects as [ManagedObject, ManagedObject, ManagedObject];
    const file = await site.backup();
    await site.change(one, { facts: { activated: at } });
    await site.change(two, { facts: { destroyed: at }, material: undefined });
    expect(await site.restore(file)).toEqual({ ...nothing, known: 4, newer: 2, destroyed: 1 });
    expect((await site.get(one))?.facts.activated).toEqual(at);
    expect((await site.get(two))?.material).toBeUndefined();
    expect(await site.get(three)).toEqual(three);
  });

  describe("with a key that was destroyed with a delay", () => {
    const destruction = { time: 10, region: "a", state: "pending", until: 70, us: 10e6 } as const;
    const restored = { ...destruction, state: "restored", us: 20e6 } as const;
    const destructionIn = async (site: Site, object: ManagedObject) =>
      (await site.get(object))?.facts.destruction;

    test("begins its delay anew where nobody knows what came after", async () => {
      const { site, objects } = await filled();
      const [one] = objects as [ManagedObject];
      await site.change(one, { facts: { destruction } });
      const file = await site.backup();
      const empty = new Site();
      const before = Math.floor(systemClock.wallMs() / 1_000);
      await empty.restore(file);
      const found = await destructionIn(empty, one);
      expect(found).toMatchObject({ state: "pending", time: 10, us: 10e6 + 1 });
      expect(found?.until).toBeGreaterThanOrEqual(before + 60);
      expect((await empty.get(one))?.material).toEqual(one.material);
    });

    test("ends no delay early on a machine whose clock is behind the others", async () => {
      const { site, objects } = await filled();
      const [one] = objects as [ManagedObject];
      await site.change(one, { facts: { destruction } });
      const file = await site.backup();
      const empty = new Site();
      const doubt = () => ({ latestSeconds: 5_000, reason: "it is behind" });
      await empty.restore(file, { timers: { ...systemClock, wallMs: () => 1_000, doubt } });
      expect((await destructionIn(empty, one))?.until).toBe(5_060);
    });

    test("neither destroys one again that was restored since, nor revives one that was destroyed since", async () => {
      const { site, objects } = await filled();
      const [one, two, three] = objects as [ManagedObject, ManagedObject, ManagedObject];
      const sealed = { kekId: instance, nonce: new Uint8Array(12), ciphertext: new Uint8Array(32) };
      await site.change(one, { facts: { destruction }, material: sealed });
      await site.change(three, { facts: { destruction } });
      const file = await site.backup();
      // A restore seals the material anew.
      const material = { ...sealed, nonce: new Uint8Array(12).fill(7) };
      await site.change(one, { facts: { destruction: restored }, material });
      await site.change(two, { facts: { destruction } });
      const report = await site.restore(file);
      expect(report).toMatchObject({ contradicting: 0, left: 0 });
      expect(await site.get(one)).toMatchObject({ facts: { destruction: restored }, material });
      expect(await destructionIn(site, two)).toEqual(destruction);
      expect(await destructionIn(site, three)).toEqual(destruction);
    });
  });

  test("respects what another region knows, before anything can be read here", async () => {
    const { site, objects } = await filled();
    const [one, two] = objects as [ManagedObject, ManagedObject];
    const file = await site.backup();
    await site.change(one, { facts: { destroyed: at }, material: undefined });
    const empty = new Site();
    const peer = Object.assign(site.store, { region: "b" });
    const commit = empty.store.commit.bind(empty.store);
    const readable: boolean[] = [];
    empty.store.commit = async (...given) => {
      const outcome = await commit(...given);
      readable.push((await empty.get(one))?.material !== undefined);
      return outcome;
    };
    const report = await empty.restore(file, { peers: [peer] });
    expect(readable.length).toBeGreaterThan(0);
    expect(readable).not.toContain(true);
    expect(report).toEqual({ ...nothing, known: 4, newer: 1, destroyed: 1, instances: [instance] });
    const joined = await empty.get(one);
    expect(joined?.facts.destroyed).toEqual(at);
    expect(joined?.material).toBeUndefined();
    expect(await empty.get(two)).toEqual(two);
  });

  test("keeps an instance deleted that was deleted since the backup, and its marks", async () => {
    const { site, objects } = await filled();
    const file = await site.backup();
    const mark = withDestroyed(instanceRecord(instance), { us: 9e6, region: "a" });
    const other = new Site();
    await other.create(mark);
    expect(await other.restore(file)).toEqual({
      ...{ ...nothing, deleted: 3, known: 1, newer: 1, destroyed: 1 },
    });
    expect(await other.get(objects[0] as ManagedObject)).toBeUndefined();
    const emptied = new Site();
    await emptied.store.instances.install(instance);
    const report = await emptied.restore(file, {
      peers: [Object.assign(other.store, { region: "b" })],
    });
    expect(report.deleted).toBe(3);
    expect(await emptied.get(objects[0] as ManagedObject)).toBeUndefined();
  });

  test("holds each partition as it was at one moment, even while the store changes", async () => {
    const { site, objects } = await filled(10);
    const changes = site.store.changes.bind(site.store);
    let pages = 0;
    const busy = Object.assign(site.store, {
      changes: async (...args: Parameters<typeof changes>) => {
        const page = await changes(args[0], args[1], 4, args[3]);
        const object = objects[pages];
        pages += 1;
        if (args[0] !== 64 && page.upTo < page.last && object !== undefined) {
          await site.change(object, { facts: { activated: at } });
        }
        return page;
      },
    });
    const file = join(folder, "busy");
    const source = { own: busy, others, statuses: site.own, region: "a", holdfast: "0" };
    const made = await createBackup(file, source, {
      key,
      ids: systemIds,
      clock: { ...systemClock, wallMs: () => 1 },
    });
    expect(made.trailer.records).toBeGreaterThan(11);
    const empty = new Site();
    await empty.restore(file);
    const counts = await empty.store.counts(instance);
    expect(counts).toEqual(await site.store.counts(instance));
    expect(counts?.Active).toBeGreaterThan(0);
  });

  test("is refused before the first write if it is damaged or cut", async () => {
    const { site } = await filled(300);
    const file = await site.backup();
    const whole = await readFile(file);
    for (const damage of [
      () => whole.subarray(0, whole.length - 40_000),
      () => whole.subarray(0, whole.length - 1),
      () => {
        const bytes = Buffer.from(whole);
        bytes[whole.length - 100] = (bytes[whole.length - 100] ?? 0) ^ 1;
        return bytes;
      },
    ]) {
      await writeFile(file, damage());
      const empty = new Site();
      await expect(empty.restore(file)).rejects.toThrow(/cut short|damaged/);
      expect((await empty.store.position()).numbers.every((number) => number === 0)).toBe(true);
      expect(empty.store.auditOf(systemInstance)).toEqual([]);
    }
  });
});

describe("a backup from before a rekey", () => {
  const older = "0f8fad5b-d9cb-469f-a165-70867728950e";
  const newer = "1f8fad5b-d9cb-469f-a165-70867728950e";
  const wrap = {
    ...{ region: "a", rootOfTrust: "root", rootKeyVersion: "1", blob: new Uint8Array(8).fill(7) },
  };
  const kek = (id: string, createdMs: number) =>
    kekRecord(
      { instance, kek: { id, createdMs, check: new Uint8Array(16), wraps: [wrap] } },
      false,
      { us: createdMs * 1_000, region: "a" },
    );

  /** A store with a key under the older KEK and its backup; then the key is under the newer one, and the older one gone. */
  async function rekeyed() {
    const site = new Site();
    await site.install(instance);
    const first = await site.create(kek(older, 1));
    const key = await site.create(sampleObject(instance, systemIds.uuid()));
    const file = await site.backup();
    await site.create(kek(newer, 2));
    const material = { ...key.material, kekId: newer } as NonNullable<typeof key.material>;
    await site.change(key, { material });
    const [before] = await site.store.read(systemInstance, [first.uniqueIdentifier]);
    if (before === undefined) throw new Error("no KEK");
    const after = withoutKekWraps(before.object, { us: 3_000, region: "a" });
    await site.store.commit(systemInstance, [{ kind: "update", before, after }], []);
    return { site, file, key, material };
  }

  const wrapsOf = async (site: Site, id: string) => {
    const [found] = await site.store.read(systemInstance, [id]);
    return (found && readKekRecord(found.object))?.kek.wraps;
  };

  test("brings its KEK back, and leaves the store's seals as they are", async () => {
    const { site, file, key, material } = await rekeyed();
    expect(await wrapsOf(site, older)).toEqual([]);
    const report = await site.restore(file);
    expect(report).toMatchObject({ contradicting: 0, left: 0, made: 0 });
    expect((await site.get(key))?.material).toEqual(material);
    expect(await site.store.quarantined()).toBe(0);
    expect(await wrapsOf(site, older)).toMatchObject([{ region: "a" }]);
    expect(await wrapsOf(site, newer)).toMatchObject([{ region: "a" }]);
  });

  test("brings its KEK back in a store that was lost, where only the other region knows that it was removed", async () => {
    const { site, file, key, material } = await rekeyed();
    const { own } = site;
    const peer = {
      region: "b",
      changes: own.changes.bind(own),
      records: own.records.bind(own),
    };
    const empty = new Site();
    const report = await empty.restore(file, { peers: [peer] });
    expect(report).toMatchObject({ contradicting: 0, left: 0 });
    expect((await empty.get(key))?.material).toEqual(material);
    expect(await wrapsOf(empty, older)).toMatchObject([{ region: "a" }]);
  });

  test("brings back the only KEK of an instance whose wraps were all removed", async () => {
    const site = new Site();
    await site.install(instance);
    await site.create(kek(older, 1));
    const file = await site.backup();
    await site.restore(file);
    const [before] = await site.store.read(systemInstance, [older]);
    if (before === undefined) throw new Error("no KEK");
    expect(before.object.registers.map(({ stamp }) => stamp.us)).toEqual([1_000]);
    const after = withoutKekWraps(before.object, { us: 3_000, region: "a" });
    await site.store.commit(systemInstance, [{ kind: "update", before, after }], []);
    expect(await wrapsOf(site, older)).toEqual([]);
    await site.restore(file);
    expect(await wrapsOf(site, older)).toMatchObject([{ region: "a" }]);
  });

  test("changes no KEK in a store that is only looked at, nor where there is one KEK", async () => {
    const { site, file } = await rekeyed();
    await site.restore(file, { apply: false });
    expect(await wrapsOf(site, older)).toEqual([]);
    const empty = new Site();
    const report = await empty.restore(file);
    expect(report.made).toBeGreaterThan(0);
    expect(await wrapsOf(empty, older)).toMatchObject([{ region: "a" }]);
  });
});
