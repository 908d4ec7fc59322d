import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemInstance } from "@holdfast/engine";
import { MemoryOwnStore, sampleObject } from "@holdfast/engine/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { machine, systemClock, systemIds } from "../../base/system.ts";
import { initBackupKey, rotateBackupKey } from "../archive/backup-keys.ts";
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

  duty(keep = 3): ScheduledBackups {
    const statuses = { status: async () => undefined };
    return new ScheduledBackups({
      source: { own: this.store, statuses, region: "a", holdfast: "0" },
      store: this.store,
      keyFile: this.keyFile,
      directory: this.directory,
      schedule: { everyMs: hour },
      keep,
      ordered: { carryOut: () => Promise.reject(new Error("nothing was ordered")) },
      clock: { ...systemClock, wallMs: () => this.nowMs },
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
    const complete = "holdfast-a-20261125T120000Z.backup";
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
