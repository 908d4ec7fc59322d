import { randomUUID } from "node:crypto";
import { type ManagedObject, StoreUnavailable, systemInstance } from "@holdfast/engine";
import { MemoryOwnStore, sampleObject } from "@holdfast/engine/testing";
import { until } from "@holdfast/testing";
import { afterEach, expect, test } from "vitest";
import type { NodeEvent } from "../observe/events.ts";
import { DamagedRecords } from "./damaged-records.ts";
import { SystemView } from "./system-view.ts";

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

/** A node's view of a store whose damaged records `heal` heals. */
function node(own: MemoryOwnStore, heal: (id: string) => Promise<void>) {
  const events: NodeEvent[] = [];
  const tries: string[] = [];
  const waiting: (() => void)[] = [];
  const observe = (event: NodeEvent): void => void events.push(event);
  const store = {
    read: async (instance: string, ids: readonly string[]) => {
      tries.push(...ids);
      for (const id of ids) await heal(id);
      return await own.read(instance, ids);
    },
  };
  const after = (_ms: number, run: () => void) => {
    waiting.push(run);
    return () => undefined;
  };
  const damaged = new DamagedRecords({ store, own, observe, timers: { after } });
  open.push(damaged);
  const monotonicMs = () => performance.now();
  const view = { own, peers: [], monotonicMs, observe, everyMs: 5, damaged: damaged.found };
  open.push(new SystemView(view));
  const again = (): void => {
    for (const run of waiting.splice(0)) run();
  };
  return { events, tries, again };
}

async function created(own: MemoryOwnStore): Promise<ManagedObject> {
  const after = sampleObject(systemInstance, randomUUID());
  await own.commit(systemInstance, [{ kind: "create", after }], []);
  return after;
}

test("a damaged system record that no client reads is read, and the other region's copy takes its place", async () => {
  const own = new MemoryOwnStore();
  const record = await created(own);
  own.damage(record.uniqueIdentifier);
  const { tries, events } = node(own, (id) =>
    own.quarantine(systemInstance, id, "damaged", { replacement: record }),
  );
  const read = () => own.read(systemInstance, [record.uniqueIdentifier]).catch(() => []);
  await until("healed", async () => (await read()).length > 0);
  await until("read once", () => tries.length === 1);
  expect(events).toEqual([]);
});

test("one that nobody can heal is put aside once, and tried again until it is healed", async () => {
  const own = new MemoryOwnStore();
  const record = await created(own);
  const id = record.uniqueIdentifier;
  own.damage(id);
  let reachable = false;
  const { tries, again } = node(own, async () => {
    if (reachable) await own.quarantine(systemInstance, id, "damaged", { replacement: record });
  });
  await until("put aside", async () => (await own.quarantined()) === 1);
  await until("tried again", () => {
    again();
    return tries.length > 3;
  });
  expect(await own.quarantined()).toBe(1);
  reachable = true;
  await until("healed", async () => {
    again();
    return (await own.read(systemInstance, [id]).catch(() => [])).length > 0;
  });
});

test("one that another region answers for, while the own store keeps it damaged, is tried again", async () => {
  const own = new MemoryOwnStore();
  const record = await created(own);
  const id = record.uniqueIdentifier;
  own.damage(id);
  let mends = false;
  const read = async () => {
    if (mends) await own.quarantine(systemInstance, id, "damaged", { replacement: record });
    return [];
  };
  const waiting: (() => void)[] = [];
  const after = (_ms: number, run: () => void) => {
    waiting.push(run);
    return () => undefined;
  };
  const observe = (): void => undefined;
  const damaged = new DamagedRecords({ store: { read }, own, observe, timers: { after } });
  open.push(damaged);
  damaged.found([id]);
  await until("put aside", async () => (await own.quarantined()) === 1);
  await until("waits", () => waiting.length > 0);
  mends = true;
  for (const run of waiting.splice(0)) run();
  await until(
    "healed",
    async () => (await own.read(systemInstance, [id]).catch(() => [])).length > 0,
  );
});

test("a store that does not answer is asked again, and a newer record stays as it is", async () => {
  const own = new MemoryOwnStore();
  const [one, newer] = [await created(own), await created(own)];
  own.damage(one.uniqueIdentifier);
  own.damage(newer.uniqueIdentifier, true);
  let answers = false;
  const { tries, again } = node(own, async () => {
    if (!answers) throw new StoreUnavailable("noLease", "as the test said");
  });
  await until("asked", () => tries.length > 1);
  expect(await own.quarantined()).toBe(0);
  answers = true;
  await until("put aside", async () => {
    again();
    return (await own.quarantined()) === 1;
  });
  const before = tries.filter((id) => id === newer.uniqueIdentifier).length;
  await until("tried again", () => {
    again();
    return tries.at(-1) === one.uniqueIdentifier && tries.at(-2) === one.uniqueIdentifier;
  });
  expect(tries.filter((id) => id === newer.uniqueIdentifier)).toHaveLength(before);
});
