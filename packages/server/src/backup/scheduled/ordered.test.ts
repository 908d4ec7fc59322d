import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sysPartition, systemInstance } from "@holdfast/engine";
import { sampleObject } from "@holdfast/engine/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock as clock, systemIds as ids, machine } from "../../base/system.ts";
import { type MemoryRegion, MemoryRegions } from "../../testing/memory-regions.ts";
import { turnsDuring } from "../../testing/turns-during.ts";
import { initBackupKey } from "../archive/backup-keys.ts";
import { type BackupDeps, backupHandlers } from "./backup-handlers.ts";
import { ScheduledBackups } from "./duty.ts";
import { OrderedWork } from "./ordered.ts";
import { backupRecordId, runsOf } from "./runs.ts";

const instance = "4e9f2d9a-63c2-4f42-8f3c-8f6a4b7d3c10";
let folder: string;
let directory: string;
let regions: MemoryRegions;
let nowMs: number;
const timers = { ...clock, wallMs: () => nowMs };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-ordered-"));
  directory = join(folder, "backups");
  await mkdir(directory);
  await initBackupKey(join(folder, "key"), machine);
  nowMs = Date.UTC(2026, 10, 25, 12, 0, 0);
  regions = new MemoryRegions();
});

afterEach(async () => {
  await regions[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** What a region's leader does: nothing by schedule, apart from the first backup. */
function dutyOf({ name: region, own, store }: MemoryRegion): ScheduledBackups {
  const around = { keyFile: join(folder, "key"), directory, store, clock: timers, ids };
  const target = () => ({
    own: Object.assign(own, { install: (id: string) => own.instances.install(id) }),
    ...{ peers: [], timers, observe: () => undefined },
  });
  return new ScheduledBackups({
    source: { own, others: async () => "absent", statuses: own, region, holdfast: "0" },
    schedule: { everyMs: 1e12 },
    keep: 10,
    ordered: new OrderedWork({ region, node: `${region}1`, target, ...around }),
    ...around,
  });
}

async function lead(region: MemoryRegion, signal = new AbortController().signal) {
  nowMs += 5_000;
  const done = await dutyOf(region).run({ epoch: 1, signal, active: () => true });
  await region.view.refresh();
  return done;
}

function handlersOf(region: MemoryRegion, more: Partial<BackupDeps> = {}) {
  const { name, view, records } = region;
  const about = { region: name, directory, hasLeader: true, view, records };
  const handlers = backupHandlers({ ...about, wallMs: timers.wallMs, ...more });
  const call = (given: object, newId = ids.uuid()) =>
    ({
      ...{ principal: { name: "ann", id: "id-of-ann" }, requestId: "r", audit: "backup.order" },
      ...{ body: {}, newId, ...given },
    }) as never;
  return {
    run: (body = {}, newId?: string) => handlers.runBackup(call({ body }, newId)),
    verify: (backup: string) => handlers.verifyBackup(call({ params: { backup } })),
    plan: (backup: string) => handlers.planRestore(call({ params: { backup } })),
    read: () => handlers.readBackups(call({})),
  };
}

/** Region a with some objects and one backup. */
async function backedUp(count = 3) {
  const { a } = regions;
  const objects = Array.from({ length: count }, () => sampleObject(instance, ids.uuid()));
  await regions.instance(instance);
  for (const after of objects) {
    const outcome = await a.own.commit(instance, [{ kind: "create", after }], []);
    expect(outcome.kind).toBe("committed");
  }
  await lead(a);
  const at = handlersOf(a);
  const [run] = (await at.read()).items;
  return { a, at, name: run?.name ?? "", objects };
}

describe("what administrators order with backups", () => {
  test("is carried out once by the leader, and everybody sees how far it is", async () => {
    const { a, at } = await backedUp();
    nowMs += 1000;
    const ordered = await at.run();
    expect(ordered).toMatchObject({ region: "a", what: "create", state: "waiting" });
    expect((await at.read()).work).toEqual([ordered]);
    expect(await lead(a)).toEqual({ done: 1, left: 0 });
    expect(await lead(a)).toEqual({ done: 0, left: 0 });
    const { items, work } = await at.read();
    expect(items).toHaveLength(2);
    expect(work).toMatchObject([{ id: ordered.id, state: "done", node: "a1", orderedBy: "ann" }]);
    expect(work[0]?.lines).toEqual([expect.stringMatching(/^holdfast-a-\S+\.backup: \d+ records/)]);
    expect(await readdir(directory)).toHaveLength(2);
    const events = a.own.auditOf(systemInstance);
    expect(events.filter(({ action }) => action === "backup.order")).toMatchObject([
      { outcome: "pending", initiator: "ann", target: "a" },
      { outcome: "success", initiator: "ann", target: "a" },
    ]);
    expect(events.filter(({ action }) => action === "backup.create")).toMatchObject([
      { outcome: "success", initiator: "schedule" },
      { outcome: "success", initiator: "ann" },
    ]);
  });

  test("is given once: a repetition changes nothing, and another order waits until it is done", async () => {
    const { a, at, name } = await backedUp();
    const id = ids.uuid();
    const first = await at.run({}, id);
    expect(await at.run({}, id)).toEqual(first);
    await expect(at.verify(name)).rejects.toMatchObject({
      code: "wrongState",
      message: expect.stringContaining("a backup, which ann ordered, is under way"),
    });
    await lead(a);
    expect(await at.verify(name)).toMatchObject({ what: "verify", state: "waiting" });
  });

  test("reaches the other region's leader by its record", async () => {
    await backedUp();
    await regions.level();
    await regions.b.view.refresh();
    const fromB = handlersOf(regions.b, { directory: undefined });
    expect(await fromB.run({ region: "a" })).toMatchObject({ region: "a", state: "waiting" });
    await regions.level();
    expect(await lead(regions.a)).toEqual({ done: 1, left: 0 });
    expect((await handlersOf(regions.a).read()).work).toMatchObject([{ state: "done" }]);
  });

  test.each([
    ["no folder", { directory: undefined }, {}, /^backup\.directory: .* docs\/backup\.md/],
    ["no leader", { hasLeader: false }, {}, /^locks: this region has no leader/],
    ["a region without backups", {}, { region: "b" }, /^region b has made no backup/],
  ])("is refused with %s", async (_, more, body, says) => {
    const { a } = await backedUp();
    await expect(handlersOf(a, more).run(body)).rejects.toMatchObject({
      code: "wrongState",
      message: expect.stringMatching(says),
    });
    expect((await runsOf(a.own, "a")).order).toBeUndefined();
  });

  test("begins again with the next leader if one stops in the middle", async () => {
    const { a, at, name } = await backedUp(200);
    await at.verify(name);
    const term = new AbortController();
    term.abort();
    await expect(lead(a, term.signal)).rejects.toThrow();
    await a.view.refresh();
    expect((await at.read()).work).toMatchObject([{ state: "running", lines: [] }]);
    expect(await lead(a)).toEqual({ done: 1, left: 0 });
    expect((await at.read()).work).toMatchObject([{ state: "done" }]);
  });
});

describe("a verification", () => {
  test("says that every part is whole, as the command does, gives other work its turns, and opens no key", async () => {
    const { a, at, name } = await backedUp(2000);
    await at.verify(name);
    expect(await turnsDuring(() => lead(a))).toBeGreaterThan(60);
    const [found] = (await at.read()).work;
    expect(found).toMatchObject({ state: "done", what: "verify", backup: name });
    expect(found?.lines[1]).toMatch(/^every part is whole: 2\d{3} records of 65 partitions$/);
    const told = a.own.auditOf(systemInstance).filter(({ action }) => action === "backup.verify");
    expect(told).toMatchObject([{ outcome: "success", target: join(directory, name) }]);
  });

  test("finds a backup that was changed or is gone, and tells why", async () => {
    const { a, at, name } = await backedUp();
    const file = join(directory, name);
    const bytes = await readFile(file);
    bytes[bytes.length - 50] = (bytes[bytes.length - 50] ?? 0) ^ 1;
    await writeFile(file, bytes);
    await at.verify(name);
    await lead(a);
    expect((await at.read()).work[0]).toMatchObject({
      state: "failed",
      lines: [expect.stringMatching(/damaged/)],
    });
    await rm(file);
    await at.verify(name);
    await lead(a);
    const [found] = (await at.read()).work;
    expect(found).toMatchObject({
      state: "failed",
      lines: [expect.stringContaining("no such file")],
    });
    const told = a.own.auditOf(systemInstance).filter(({ action }) => action === "backup.verify");
    expect(told.map(({ outcome }) => outcome)).toEqual(["failure", "failure"]);
  });

  test("is of a backup in the list, and never of a file elsewhere", async () => {
    const { a, at, name } = await backedUp();
    for (const other of [
      "holdfast-a-20200101T000000Z.backup",
      `../backups/${name}`,
      join(directory, name),
    ]) {
      await expect(at.verify(other), other).rejects.toMatchObject({ code: "notFound" });
    }
    // A record that names a file of another folder, as somebody with the store could write it.
    await copyFile(join(directory, name), join(folder, "elsewhere"));
    const order = { id: ids.uuid(), what: "verify", backup: "../elsewhere" } as const;
    const changes = () => ({ order: { ...order, atMs: 1, by: "x" } });
    await a.records.change("Backup", backupRecordId("a"), changes, []);
    await lead(a);
    expect((await at.read()).work[0]).toMatchObject({
      state: "failed",
      lines: [expect.stringContaining("no such file")],
    });
  });
});

test("a restore plan says what would come back and what is newer now, and writes nothing", async () => {
  const { a, at, name, objects } = await backedUp();
  const [one, two] = objects;
  if (one === undefined || two === undefined) throw new Error("no objects");
  const [stored] = await a.own.read(instance, [one.uniqueIdentifier]);
  if (stored === undefined) throw new Error("nothing to change");
  const after = {
    ...stored.object,
    facts: { activated: { time: 7, region: "a" } },
    lastChange: stored.object.lastChange + 1,
  };
  await a.own.commit(instance, [{ kind: "update", before: stored, after }], []);
  await at.plan(name);
  // The leader writes its progress into the record of backups, which is the system's.
  const numbers = async () => (await a.own.position()).numbers.slice(0, sysPartition);
  const before = await numbers();
  await lead(a);
  const [found] = (await at.read()).work;
  expect(found).toMatchObject({ state: "done", what: "plan" });
  const said = found?.lines.join("\n");
  expect(said).toMatch(/^\d+ records are there already/m);
  expect(said).toMatch(/^[1-9]\d* records of these were changed since the backup was made/m);
  expect(said).toMatch(/nothing was written$/);
  expect(await numbers()).toEqual(before);
});
