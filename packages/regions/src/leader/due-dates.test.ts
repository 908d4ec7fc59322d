import {
  type ClockDoubt,
  type Destruction,
  type ManagedObject,
  type Register,
  StoreUnavailable,
  stateOf,
} from "@holdfast/engine";
import type { MemoryOwnStore } from "@holdfast/engine/testing";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { openStore, VirtualTime } from "../testing/leader/test-leader.ts";
import { change, objectOf, put, recordsOf, termOf } from "../testing/leader/test-peer.ts";
import { DueDates, nextDate } from "./due-dates.ts";

const region = "a";
const start = 1_700_000_000;
/** Tags of the attributes (KMIP 2.1, 4.1 and 4.18), and the type of a Date-Time. */
const tags = { activation: 0x420001, deactivation: 0x42002f } as const;
const dateTime = 9;

let time: VirtualTime;
let own: MemoryOwnStore;
let duty: DueDates;

beforeEach(async () => {
  time = new VirtualTime();
  own = await openStore({ wallMs: time.wallMs });
  duty = new DueDates({ region, own, store: own, timers: time });
});

function planned(dates: { readonly activation?: number; readonly deactivation?: number }) {
  const register = (name: keyof typeof tags): readonly Register[] => {
    const [tag, at] = [tags[name], dates[name]];
    if (at === undefined) return [];
    const value: Register["value"] = { tag, type: dateTime, value: BigInt(at) };
    return [{ tag, key: "", index: 0, origin: "", value, stamp: { us: 1, region } }];
  };
  const registers = [...register("activation"), ...register("deactivation")];
  return objectOf({ registers });
}

/** One run of the duty, which waits with `Timers`. */
async function run(): Promise<{ readonly done: number; readonly left: number }> {
  const running = duty.run(termOf(1));
  let over = false;
  void running.then(
    () => {
      over = true;
    },
    () => undefined,
  );
  for (let rounds = 0; !over && rounds < 10_000; rounds += 1) await time.run(0);
  return running;
}

async function stateIn({ uniqueIdentifier }: ManagedObject): Promise<string> {
  const object = (await recordsOf(own)).get(uniqueIdentifier);
  return object === undefined ? "none" : stateOf(object.facts);
}

test("writes nothing while the clocks disagree, and everything afterwards", async () => {
  let doubt: ClockDoubt | undefined = { latestSeconds: start, reason: "61 s ahead" };
  duty = new DueDates({ region, own, store: own, timers: time, doubt: () => doubt });
  const object = planned({ activation: start + 10 });
  await put(own, [object]);
  expect(await run()).toEqual({ done: 0, left: 0 });
  await time.run(10_000);
  await expect(run()).rejects.toMatchObject({ failure: "clockDoubt" });
  expect(await stateIn(object)).toBe("PreActive");
  doubt = undefined;
  expect(await run()).toEqual({ done: 1, left: 0 });
  expect(await stateIn(object)).toBe("Active");
});

test("writes each fact when its date has come, dated as planned, with its audit event", async () => {
  const object = planned({ activation: start + 10, deactivation: start + 20 });
  await put(own, [object, objectOf()]);
  expect(await run()).toEqual({ done: 0, left: 0 });
  await time.run(10_000);
  expect(await run()).toEqual({ done: 1, left: 0 });
  expect(await stateIn(object)).toBe("Active");
  await time.run(9_000);
  expect(await run()).toEqual({ done: 0, left: 0 });
  await time.run(1_000);
  expect((await run()).done).toBe(1);
  expect(await stateIn(object)).toBe("Deactivated");
  expect((await recordsOf(own)).get(object.uniqueIdentifier)?.facts).toEqual({
    activated: { time: start + 10, region },
    deactivated: { time: start + 20, region },
  });
  expect(own.auditOf("i").map(({ action, initiator }) => [action, initiator])).toEqual([
    ["kmip-key.activate", "planned-date"],
    ["kmip-key.deactivate", "planned-date"],
  ]);
});

test("waits for no record that cannot be read, and tries it again", async () => {
  const [bad, good] = [planned({ activation: start + 10 }), planned({ activation: start + 10 })];
  await put(own, [bad, good]);
  await run();
  const read = own.read.bind(own);
  let isDamaged = true;
  own.read = async (...args) => {
    if (!isDamaged || !args[1].includes(bad.uniqueIdentifier)) return await read(...args);
    throw new StoreUnavailable("corrupt", "the record does not decode");
  };
  await time.run(10_000);
  expect((await run()).done).toBe(1);
  expect(await stateIn(good)).toBe("Active");
  isDamaged = false;
  await time.run(60_000);
  expect((await run()).done).toBe(1);
  expect(await stateIn(bad)).toBe("Active");
});

test("while this node may write nothing, no date is put off as if its record were damaged", async () => {
  const object = planned({ activation: start + 10 });
  await put(own, [object]);
  await run();
  const commit = vi.spyOn(own, "commit");
  commit.mockRejectedValueOnce(new StoreUnavailable("formatNotAgreed", "as the test said"));
  await time.run(10_000);
  await expect(run()).rejects.toMatchObject({ failure: "formatNotAgreed" });
  expect(await run()).toEqual({ done: 1, left: 0 });
  expect(await stateIn(object)).toBe("Active");
});

test("a date that came while the instance took no changes is written once it does", async () => {
  const object = planned({ activation: start + 10 });
  await put(own, [object]);
  await run();
  own.instances.setStatus("i", "Inactive");
  await time.run(10_000);
  await run();
  expect(await stateIn(object)).toBe("PreActive");
  own.instances.setStatus("i", "Installed");
  await time.run(20_000);
  expect((await run()).done).toBe(1);
  expect(await stateIn(object)).toBe("Active");
});

test("follows a date that was changed, and forgets one that was deleted", async () => {
  const [moved, deleted] = [
    planned({ activation: start + 10 }),
    planned({ activation: start + 10 }),
  ];
  await put(own, [moved, deleted]);
  await run();
  await change(own, moved, { registers: planned({ activation: start + 30 }).registers });
  await change(own, deleted, { registers: [] });
  await time.run(12_000);
  await run();
  expect([await stateIn(moved), await stateIn(deleted)]).toEqual(["PreActive", "PreActive"]);
  await time.run(18_000);
  await run();
  expect([await stateIn(moved), await stateIn(deleted)]).toEqual(["Active", "PreActive"]);
});

test("reads no changes while nothing changes and nothing is due", async () => {
  await put(own, [planned({ activation: start + 1_000 })]);
  await run();
  const changes = own.changes.bind(own);
  let pages = 0;
  own.changes = (...args) => {
    pages += 1;
    return changes(...args);
  };
  for (let round = 0; round < 5; round += 1) await run();
  expect(pages).toBe(0);
});

test("remembers the earliest dates and finds the others by reading again", async () => {
  duty = new DueDates({ region, own, store: own, timers: time, plannedMax: 10 });
  const objects = Array.from({ length: 40 }, (_, at) => planned({ activation: start + 10 + at }));
  await put(own, objects);
  for (let second = 0; second < 80; second += 1) {
    await run();
    await time.run(1_000);
  }
  for (const object of objects) expect(await stateIn(object)).toBe("Active");
});

test("a record that an agreed operation holds is tried again", async () => {
  const object = planned({ activation: start + 1 });
  await put(own, [object]);
  await own.reserve("i", [object.uniqueIdentifier], "op");
  await time.run(2_000);
  expect(await run()).toEqual({ done: 0, left: 1 });
  await own.release("i", "op");
  expect(await run()).toEqual({ done: 1, left: 0 });
});

test("after a fail-over everything is read again", async () => {
  const object = planned({ activation: start + 5 });
  await put(own, [object]);
  await run();
  own.failOver("other");
  const later = planned({ activation: start + 5 });
  await put(own, [later]);
  await time.run(5_000);
  await run();
  expect([await stateIn(object), await stateIn(later)]).toEqual(["Active", "Active"]);
});

describe("a destruction with a delay", () => {
  const destruction = { time: start, region, state: "pending", until: start + 10, us: 1 } as const;
  const pending = (more: Partial<Destruction> = {}) =>
    objectOf({ facts: { destruction: { ...destruction, ...more } } });

  test("becomes final when its time is over, by agreement, and erases the material", async () => {
    const commit = vi.spyOn(own, "commit");
    const observe = vi.fn();
    duty = new DueDates({ region, own, store: own, timers: time, observe });
    const object = pending();
    await put(own, [object]);
    await time.run(9_000);
    expect(await run()).toEqual({ done: 0, left: 0 });
    expect(observe.mock.calls).toEqual([[{ type: "restorable", keys: 1 }]]);
    await time.run(1_000);
    commit.mockClear();
    expect(await run()).toEqual({ done: 1, left: 0 });
    expect(commit.mock.calls.map((call) => call[3])).toEqual([{ agreed: true }]);
    const after = (await recordsOf(own)).get(object.uniqueIdentifier);
    expect(after?.facts.destroyed).toEqual({ time: start, region });
    expect(after?.material).toBeUndefined();
    await run();
    expect(observe.mock.lastCall).toEqual([{ type: "restorable", keys: 0 }]);
    expect(own.auditOf("i").map(({ action }) => action)).toEqual(["kmip-key.erase"]);
  });

  test("waits for no other one, whose record cannot be read", async () => {
    const [bad, good] = [pending(), pending()];
    await put(own, [bad, good]);
    const read = own.read.bind(own);
    own.read = async (...args) => {
      if (!args[1].includes(bad.uniqueIdentifier)) return await read(...args);
      throw new StoreUnavailable("corrupt", "the record does not decode");
    };
    await time.run(11_000);
    let done = 0;
    for (let tries = 0; tries < 2; tries += 1) {
      ({ done } = await run());
      await time.run(10_000);
    }
    expect(done).toBe(1);
    expect((await recordsOf(own)).get(good.uniqueIdentifier)?.material).toBeUndefined();
  });

  test("waits while its instance takes no changes", async () => {
    const object = pending();
    await put(own, [object]);
    own.instances.setStatus("i", "Inactive");
    await time.run(11_000);
    await run();
    expect((await recordsOf(own)).get(object.uniqueIdentifier)?.material).toBeDefined();
    own.instances.setStatus("i", "Installed");
    await time.run(60_000);
    expect((await run()).done).toBe(1);
    expect((await recordsOf(own)).get(object.uniqueIdentifier)?.material).toBeUndefined();
  });

  test("is not made final once the key was restored", async () => {
    const object = pending();
    await put(own, [object]);
    await run();
    await change(own, object, { facts: { destruction: { ...destruction, state: "restored" } } });
    await time.run(20_000);
    await run();
    expect(await stateIn(object)).toBe("PreActive");
  });

  /** No region agrees to anything until this says so. */
  const regionOut = (): (() => void) => {
    const commit = own.commit.bind(own);
    own.commit = async (...args) => {
      if ((args[3] as { agreed?: boolean } | undefined)?.agreed === true) {
        throw new StoreUnavailable("noAgreement", "region b is down");
      }
      return await commit(...args);
    };
    return () => {
      own.commit = commit;
    };
  };

  test("of which more wait for a region than are remembered keeps no date from being met, first or last", async () => {
    duty = new DueDates({ region, own, store: own, timers: time, plannedMax: 10 });
    const dates = [
      planned({ activation: start + 20 }),
      planned({ activation: start + 20 }),
    ] as const;
    const keys = Array.from({ length: 1_300 }, () => pending());
    await put(own, [dates[0], ...keys, dates[1]]);
    const back = regionOut();
    await time.run(11_000);
    for (let seconds = 0; seconds < 30; seconds += 1) {
      await run();
      await time.run(1_000);
    }
    expect(await Promise.all(dates.map(stateIn))).toEqual(["Active", "Active"]);
    back();
    await time.run(10_000);
    let erased = 0;
    for (let seconds = 0; seconds < 30; seconds += 1) {
      erased += (await run()).done;
      await time.run(1_000);
    }
    expect(erased).toBeGreaterThan(10);
  });

  test("waits while a region is out, and no date waits for it", async () => {
    const objects = [pending(), pending(), planned({ activation: start + 10 })] as const;
    await put(own, objects);
    const back = regionOut();
    await time.run(11_000);
    expect(await run()).toEqual({ done: 1, left: 2 });
    expect(await stateIn(objects[2])).toBe("Active");
    expect((await recordsOf(own)).get(objects[0].uniqueIdentifier)?.material).toBeDefined();
    back();
    expect(await run()).toEqual({ done: 0, left: 2 });
    await time.run(10_000);
    expect(await run()).toEqual({ done: 2, left: 0 });
  });
});

describe("the next date", () => {
  test.each<
    [string, Partial<ManagedObject> & Pick<ManagedObject, "registers">, number | undefined]
  >([
    ["is none where none is planned", { registers: [] }, undefined],
    ["is the activation first", planned({ activation: 5, deactivation: 9 }), 5],
    [
      "is the deactivation once the object is active",
      {
        ...planned({ activation: 5, deactivation: 9 }),
        facts: { activated: { time: 5, region } },
      },
      9,
    ],
    [
      "is none once the object is destroyed",
      {
        ...planned({ activation: 5, deactivation: 9 }),
        facts: { destroyed: { time: 5, region } },
      },
      undefined,
    ],
    ["is none for an object that was never active", planned({ deactivation: 9 }), undefined],
  ])("%s", (_name, more, at) => {
    expect(nextDate(objectOf(more), region)).toBe(at);
  });
});
