import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StoreUnavailable, systemInstance } from "@holdfast/engine";
import { MemoryOwnStore, sampleObject } from "@holdfast/engine/testing";
import type { Others } from "@holdfast/regions";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { machine, systemIds } from "../../base/system.ts";
import { ArchiveReader } from "../archive/archive-reader.ts";
import { initBackupKey, readBackupKeys, rotateBackupKey } from "../archive/backup-keys.ts";
import { scanArchive } from "../archive/scan.ts";
import { ScheduledBackups } from "./duty.ts";
import { lastGoodMs, runsOf } from "./runs.ts";
import { backupsIn, dueAfter, minutesOf, retire } from "./schedule.ts";

const hour = 3_600_000;
const start = Date.UTC(2026, 10, 25, 12, 0, 0);
const context = { epoch: 1, signal: new AbortController().signal, active: () => true };
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-duty-"));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

class Leader {
  nowMs = start;
  readonly store = new MemoryOwnStore();
  readonly keyFile = join(folder, "key");
  readonly directory = join(folder, "backups");
  others: Others = "absent";
  /** Called at each pause. */
  paused = async (): Promise<void> => undefined;
  #sleptMs = 0;

  duty(keep = 3): ScheduledBackups {
    const statuses = { status: async () => undefined };
    return new ScheduledBackups({
      source: {
        ...{ own: this.store, statuses, region: "a", holdfast: "0" },
        others: async () => this.others,
      },
      store: this.store,
      keyFile: this.keyFile,
      directory: this.directory,
      schedule: { everyMs: hour },
      keep,
      ordered: { carryOut: () => Promise.reject(new Error("nothing was ordered")) },
      clock: {
        wallMs: () => this.nowMs,
        monotonicMs: () => this.#sleptMs,
        sleep: async (ms) => {
          this.#sleptMs += ms;
          await this.paused();
        },
      },
      ids: systemIds,
    });
  }
}

describe("scheduled backups", () => {
  test.each([
    { says: "none yet", last: undefined, schedule: { everyMs: hour }, due: 0 },
    { says: "every hour", last: start, schedule: { everyMs: hour }, due: start + hour },
    {
      says: "at 14:30, made at 12:00",
      last: start,
      schedule: { everyMs: hour, atMinutes: minutesOf("14:30") },
      due: start + 2.5 * hour,
    },
    {
      says: "at 02:30, made at 12:00",
      last: start,
      schedule: { everyMs: hour, atMinutes: minutesOf("02:30") },
      due: start + 14.5 * hour,
    },
    {
      says: "at 12:00, made then",
      last: start,
      schedule: { everyMs: hour, atMinutes: minutesOf("12:00") },
      due: start + 24 * hour,
    },
  ])("are due: $says", ({ last, schedule, due }) => {
    expect(dueAfter(last, schedule)).toBe(due);
  });

  test("are made when due, kept up to the number wanted, and audited", async () => {
    const leader = new Leader();
    await mkdir(leader.directory);
    await initBackupKey(leader.keyFile, machine);
    const duty = leader.duty();
    expect(await duty.run(context)).toEqual({ done: 1, left: 0 });
    expect(await duty.run(context)).toEqual({ done: 0, left: 0 });
    await rotateBackupKey(leader.keyFile, machine);
    for (let made = 0; made < 4; made++) {
      leader.nowMs += hour;
      expect((await duty.run(context)).done).toBe(1);
    }
    expect(await readdir(leader.directory)).toEqual([
      "holdfast-a-20261125T140000Z.backup",
      "holdfast-a-20261125T150000Z.backup",
      "holdfast-a-20261125T160000Z.backup",
    ]);
    const runs = await runsOf(leader.store, "a");
    expect(runs.runs).toHaveLength(5);
    expect(lastGoodMs(runs)).toBe(start + 4 * hour);
    const events = leader.store.auditOf(systemInstance);
    const made = "backup.create success";
    const gone = ["backup.delete pending", "backup.delete success"];
    const told = [made, made, made, made, ...gone, made, ...gone];
    expect(events.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual(told);
    expect(events.find(({ action }) => action === "backup.delete")?.target).toBe(
      join(leader.directory, "holdfast-a-20261125T120000Z.backup"),
    );
    // Another leader continues where this one stopped.
    expect((await leader.duty().run(context)).done).toBe(0);
  });

  test("that fail are recorded and are tried again later", async () => {
    const leader = new Leader();
    const duty = leader.duty();
    await expect(duty.run(context)).rejects.toThrow(/backup.keyFile: .* does not exist/);
    const [run] = (await runsOf(leader.store, "a")).runs;
    expect(run).toMatchObject({ ok: false, reason: expect.stringMatching(/does not exist/) });
    expect((await duty.run(context)).done).toBe(0);
    await initBackupKey(leader.keyFile, machine);
    leader.nowMs += hour / 4;
    await expect(duty.run(context)).rejects.toThrow(/no such/);
    expect(lastGoodMs(await runsOf(leader.store, "a"))).toBeUndefined();
  });

  test("that cannot be recorded count nevertheless, and are recorded once they can be", async () => {
    const leader = new Leader();
    await mkdir(leader.directory);
    await initBackupKey(leader.keyFile, machine);
    const duty = leader.duty();
    const commit = leader.store.commit.bind(leader.store);
    leader.store.commit = () => Promise.reject(new StoreUnavailable("full", "no room"));
    await expect(duty.run(context)).rejects.toThrow("no room");
    leader.nowMs += hour / 2;
    expect(await duty.run(context)).toEqual({ done: 0, left: 0 });
    expect(await readdir(leader.directory)).toEqual(["holdfast-a-20261125T120000Z.backup"]);
    // It was written, but the answer is lost.
    leader.store.commit = async (...given) => {
      await commit(...given);
      throw new StoreUnavailable("barrierShort", "not known");
    };
    expect(await duty.run(context)).toEqual({ done: 0, left: 0 });
    leader.store.commit = commit;
    expect(await duty.run(context)).toEqual({ done: 0, left: 0 });
    const { runs } = await runsOf(leader.store, "a");
    expect(runs).toMatchObject([{ ok: true, startedMs: start }]);
    expect(runs).toHaveLength(1);
  });

  test("without damaged records are failures, and complete ones stay beside the last of them", async () => {
    const leader = new Leader();
    await mkdir(leader.directory);
    await initBackupKey(leader.keyFile, machine);
    const object = sampleObject(systemInstance, systemIds.uuid());
    await leader.store.commit(object.instance, [{ kind: "create", after: object }], []);
    const duty = leader.duty(1);
    expect((await duty.run(context)).done).toBe(1);
    leader.store.damage(object.uniqueIdentifier);
    for (let made = 0; made < 3; made++) {
      leader.nowMs += hour;
      await expect(duty.run(context)).rejects.toThrow(/not complete: 1 damaged records are not in/);
      // Not again at once.
      expect((await duty.run(context)).done).toBe(0);
    }
    const incomplete = "holdfast-a-20261125T150000Z.incomplete.backup";
    expect(await readdir(leader.directory)).toEqual([complete, incomplete]);
    const runs = await runsOf(leader.store, "a");
    expect(runs.runs[0]).toMatchObject({ ok: false, file: join(leader.directory, incomplete) });
    expect(lastGoodMs(runs)).toBe(start);
    const events = leader.store.auditOf(systemInstance);
    const created = events.filter(({ action }) => action === "backup.create");
    expect(created.map(({ outcome }) => outcome)).toEqual([
      ...["success", "failure", "failure", "failure"],
    ]);
  });

  /** A store that was level once, with a backup of then. */
  async function levelOnce() {
    const leader = new Leader();
    await mkdir(leader.directory);
    await initBackupKey(leader.keyFile, machine);
    leader.others = "up";
    await leader.store.setLevel(await leader.store.requestResync(), 1);
    expect((await leader.duty(1).run(context)).done).toBe(1);
    leader.nowMs += hour;
    return leader;
  }
  const complete = "holdfast-a-20261125T120000Z.backup";
  const stuck = "the store is not level with the other region yet";

  test.each<{ says: string; why: string; others?: Others; before: (leader: Leader) => unknown }>([
    {
      says: "had no room for all",
      why: "the store had no room for all, or is an older one",
      before: ({ store }) => store.loseLevel(),
    },
    {
      says: "had no room for all, and the other region is out of reach now",
      why: "the store had no room for all, or is an older one",
      others: "down",
      before: ({ store }) => store.loseLevel(),
    },
    {
      says: "had no room for something during the backup",
      why: "the store had no room for all, or is an older one",
      before: ({ store }) => {
        const countsIn = store.countsIn.bind(store);
        store.countsIn = async (partition) => {
          if (partition === 0) await store.loseLevel();
          return await countsIn(partition);
        };
      },
    },
    {
      says: "may be an older one",
      why: "the store may be an older one than this node remembers",
      before: ({ store }) => {
        store.doubted = () => true;
      },
    },
    {
      says: "is being filled again",
      why: "the store was never level with the other region",
      before: async ({ store }) => {
        store.levels = async () => ({ asked: 1, reached: 0, lost: 0 });
      },
    },
    { says: "has a stuck resync", why: stuck, before: ({ store }) => store.requestResync() },
  ])("of a store that $says are failures", async ({ why, others, before }) => {
    const leader = await levelOnce();
    if (others !== undefined) leader.others = others;
    await before(leader);
    await expect(leader.duty(1).run(context)).rejects.toThrow(`is not complete: ${why}`);
    const incomplete = "holdfast-a-20261125T130000Z.incomplete.backup";
    expect(await readdir(leader.directory)).toEqual([complete, incomplete]);
    const runs = await runsOf(leader.store, "a");
    expect(runs.runs[0]).toMatchObject({ ok: false, reason: expect.stringContaining(why) });
    expect(lastGoodMs(runs)).toBe(start);
    expect(leader.store.auditOf(systemInstance).at(-1)).toMatchObject({
      ...{ action: "backup.create", outcome: "failure" },
    });
    const keys = await readBackupKeys(leader.keyFile);
    await using reader = await ArchiveReader.open(join(leader.directory, incomplete), keys);
    expect((await scanArchive(reader)).trailer.lacks).toContain(why);
  });

  test.each<{ says: string; before: (leader: Leader) => unknown }>([
    {
      says: "becomes level a moment after a restart",
      before: async (leader) => {
        const asked = await leader.store.requestResync();
        leader.paused = () => leader.store.setLevel(asked, 1);
      },
    },
    {
      says: "cannot become level in a cut, in which its nodes were restarted",
      before: async (leader) => {
        await leader.store.requestResync();
        leader.others = "down";
      },
    },
    {
      says: "is alone, as the other region is retired",
      before: async (leader) => {
        await leader.store.requestResync();
        leader.others = "absent";
      },
    },
  ])("of a store that $says are good", async ({ before }) => {
    const leader = await levelOnce();
    await before(leader);
    expect((await leader.duty(2).run(context)).done).toBe(1);
    const later = "holdfast-a-20261125T130000Z.backup";
    expect(await readdir(leader.directory)).toEqual([complete, later]);
  });

  test("are not deleted without audit events, and a deletion that fails has its event", async () => {
    const leader = new Leader();
    await mkdir(leader.directory);
    await initBackupKey(leader.keyFile, machine);
    expect((await leader.duty(1).run(context)).done).toBe(1);
    leader.nowMs += hour;
    const append = leader.store.appendAudit.bind(leader.store);
    leader.store.appendAudit = () => Promise.reject(new Error("no store"));
    await expect(leader.duty(1).run(context)).rejects.toThrow("no store");
    expect(await readdir(leader.directory)).toHaveLength(2);
    leader.store.appendAudit = async (instance, events) => {
      await append(instance, events);
      // Somebody replaces the backup by a folder between the event and the deletion.
      if (events[0]?.action === "backup.delete" && events[0].outcome === "pending") {
        const oldest = join(leader.directory, "holdfast-a-20261125T120000Z.backup");
        await rm(oldest);
        await mkdir(oldest);
      }
    };
    leader.nowMs += hour;
    await expect(leader.duty(1).run(context)).rejects.toThrow(/holdfast-a-20261125T120000Z/);
    expect(leader.store.auditOf(systemInstance).at(-1)).toMatchObject({
      action: "backup.delete",
      outcome: "failure",
      reason: expect.stringContaining("holdfast-a-20261125T120000Z.backup"),
    });
  });

  test("continue, with one backup, after the clock was set back", async () => {
    const leader = new Leader();
    await mkdir(leader.directory);
    await initBackupKey(leader.keyFile, machine);
    const duty = leader.duty();
    leader.nowMs = start + 1000 * hour;
    expect((await duty.run(context)).done).toBe(1);
    leader.nowMs = start;
    expect((await duty.run(context)).done).toBe(1);
    expect((await duty.run(context)).done).toBe(0);
  });

  test("delete nothing but their own archives, and what interrupted ones left long ago", async () => {
    const magic = Buffer.from("HOLDFAST-BACKUP\n rest");
    const [one, two] = ["holdfast-a-20260101T000000Z.backup", "holdfast-a-20260102T000000Z.backup"];
    const others = [
      "holdfast-b-20260101T000000Z.backup",
      "holdfast-a-20260101T000000Z.backup.gz",
      "notes.txt",
    ];
    for (const name of [one, two, ...others]) await writeFile(join(folder, name), magic);
    // It has the name of a backup, but is not one.
    const strange = "holdfast-a-20250101T000000Z.backup";
    await writeFile(join(folder, strange), "something else");
    const link = "holdfast-a-20250102T000000Z.backup";
    await symlink(join(folder, "notes.txt"), join(folder, link));
    const incomplete = "holdfast-a-20260103T000000Z.incomplete.backup";
    await writeFile(join(folder, incomplete), magic);
    const [old, young] = [`${one}.0badcafe.partial`, `${two}.0badcafe.partial`];
    for (const name of [old, young]) await writeFile(join(folder, name), "");
    await utimes(join(folder, old), new Date(start - 10 * hour), new Date(start - 10 * hour));
    await utimes(join(folder, young), new Date(start), new Date(start));
    expect(await backupsIn(folder, "a")).toEqual([one, two]);
    expect(await retire(folder, "a", { keep: 1, ageMs: 0 }, start)).toEqual([one, incomplete, old]);
    expect(await readdir(folder)).toEqual([two, strange, link, young, ...others].toSorted());
  });
});
