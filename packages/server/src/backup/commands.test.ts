import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ManagedObject, StoreUnavailable, systemInstance } from "@holdfast/engine";
import { MemoryOwnStore, sampleObject } from "@holdfast/engine/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock as clock, systemIds as ids } from "../base/system.ts";
import type { Trailer } from "./archive/archive-entries.ts";
import type { BackupKey } from "./archive/archive-format.ts";
import { ArchiveReader } from "./archive/archive-reader.ts";
import { scanArchive } from "./archive/scan.ts";
import { createdLines, restorePlainly } from "./commands.ts";
import { createBackup } from "./create.ts";

const key: BackupKey = { version: 1, key: ids.randomBytes(32) };
const instance = "4e9f2d9a-63c2-4f42-8f3c-8f6a4b7d3c10";
let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-commands-"));
  file = join(folder, "backup");
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function storeWith(...objects: readonly ManagedObject[]): Promise<MemoryOwnStore> {
  const store = new MemoryOwnStore({ storeId: ids.uuid() });
  await store.instances.install(instance);
  for (const after of objects) {
    const outcome = await store.commit(instance, [{ kind: "create", after }], []);
    expect(outcome.kind).toBe("committed");
  }
  return store;
}

/** A backup of a store with some objects. */
async function backedUp(count = 2): Promise<readonly ManagedObject[]> {
  const objects = Array.from({ length: count }, () => sampleObject(instance, ids.uuid()));
  const own = await storeWith(...objects);
  const statuses = { status: async () => undefined };
  const others = async () => "absent" as const;
  const source = { own, others, statuses, region: "a", holdfast: "0" };
  await createBackup(file, source, { key, ids, clock });
  return objects;
}

async function restore(store: MemoryOwnStore, apply = true) {
  await using reader = await ArchiveReader.open(file, [key]);
  const own = Object.assign(store, {
    install: (id: string) => store.instances.install(id),
    status: async (id: string) => store.instances.statusOf(id),
  });
  const target = { own, peers: [], timers: clock, observe: () => undefined };
  const scanned = await scanArchive(reader);
  const restoring = { reader, scanned, target, show: () => undefined, machine: { clock, ids } };
  return await restorePlainly(restoring, apply);
}

function eventsOf(store: MemoryOwnStore) {
  const events = store.auditOf(systemInstance);
  expect(new Set(events.map(({ requestId }) => requestId)).size).toBeLessThanOrEqual(1);
  return events.map(({ action, outcome }) => `${action} ${outcome}`);
}

describe("backup restore", () => {
  test("says that it is complete after the last record only", async () => {
    const objects = await backedUp();
    const store = await storeWith();
    const before: (readonly string[])[] = [];
    const commit = store.commit.bind(store);
    store.commit = async (...given) => {
      before.push(eventsOf(store));
      return await commit(...given);
    };
    const { lines, ok } = await restore(store);
    expect(lines.at(-1)).toBe("the restore is complete; it may be run again");
    expect(ok).toBe(true);
    expect(before.length).toBeGreaterThan(0);
    for (const events of before) expect(events).toEqual(["backup.restore pending"]);
    expect(eventsOf(store)).toEqual(["backup.restore pending", "backup.restore success"]);
    const [, ended] = store.auditOf(systemInstance);
    expect(ended?.detail).toMatchObject({ made: objects.length, left: 0 });
  });

  test("has no event of a success if the store fails in the middle", async () => {
    await backedUp();
    const store = await storeWith();
    store.commit = () => Promise.reject(new StoreUnavailable("full", "no room"));
    await expect(restore(store)).rejects.toThrow("no room");
    expect(eventsOf(store)).toEqual(["backup.restore pending", "backup.restore failure"]);
  });

  test("is not complete while records contradict those of the store", async () => {
    const [one] = await backedUp();
    const store = await storeWith({ ...(one as ManagedObject), fixed: [] });
    const { lines, ok } = await restore(store);
    expect(ok).toBe(false);
    expect(lines.at(-1)).toMatch(
      /^the restore is not complete: 1 records contradict those of the store: keep the backup/,
    );
    expect(eventsOf(store)).toEqual(["backup.restore pending", "backup.restore failure"]);
    expect(await store.quarantined()).toBe(1);
  });

  test("has no events without --apply", async () => {
    await backedUp();
    const store = await storeWith();
    expect((await restore(store, false)).ok).toBe(true);
    expect(eventsOf(store)).toEqual([]);
  });
});

test("backup create says what the backup lacks, and what it may lack", () => {
  const trailer = { damaged: 0 } as Trailer;
  expect(createdLines({ trailer })).toEqual([]);
  expect(createdLines({ trailer, note: "the other region does not answer" })).toEqual([
    "the other region does not answer",
  ]);
  expect(createdLines({ trailer: { ...trailer, lacks: "it is not level" } })).toEqual([
    expect.stringMatching(/^it is not complete: it is not level: make it in the other region, or/),
  ]);
  expect(createdLines({ trailer: { ...trailer, damaged: 2 } })).toEqual([
    expect.stringMatching(/^2 records of the store are damaged/),
  ]);
});
