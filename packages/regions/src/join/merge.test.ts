import { randomUUID } from "node:crypto";
import { encodeRecord, recordKinds, StoreUnavailable, systemInstance } from "@holdfast/engine";
import { groupItem, sampleObject, sampleRegister } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
import { instance } from "../testing/test-keys.ts";
import { numberedKey as key, mergeWorld as world } from "../testing/test-merge.ts";

const destroyed = { destroyed: { time: 9, region: "b" } };
const activated = { activated: { time: 8, region: "b" } };
const id1 = key(1).uniqueIdentifier;

test("new records take one commit and no read", async () => {
  const { own, results } = await world();
  expect(await results([key(1), key(2)])).toEqual(["written", "written"]);
  expect(own.calls).toEqual(["commit 2"]);
});

test("a record that exists already is read, which covers it, and not written again", async () => {
  const { own, results } = await world();
  await results([key(1)]);
  expect(await results([key(1)])).toEqual(["same"]);
  expect(own.calls).toEqual(["commit 1", "read 1"]);
  const { objects } = await own.changes(0, 0, 100, 1 << 20);
  expect(objects.length).toBeLessThanOrEqual(1);
});

test("a full store accepts what it has already, and writes facts although it refuses a new record", async () => {
  const { own, results, get } = await world();
  await results([key(1), key(2)]);
  own.full = true;
  expect(await results([key(1), key(2)])).toEqual(["same", "same"]);
  const facts = [key(1, { facts: activated }), key(2, { facts: destroyed })];
  await expect(results([key(3), ...facts])).rejects.toMatchObject({ failure: "full" });
  expect((await get(id1))?.facts).toEqual(activated);
  expect((await get(key(2).uniqueIdentifier))?.material).toBeUndefined();
  own.full = false;
  expect(await results([key(3), ...facts])).toEqual(["written", "same", "same"]);
});

test("a changed record is joined and has the facts of both", async () => {
  const { own, results, get } = await world();
  const register = sampleRegister(groupItem("g"), 5);
  await results([key(1, { registers: [register] })]);
  const { commit } = own;
  const kinds: string[] = [];
  own.commit = (...given) => {
    kinds.push(...given[1].map(({ kind }) => kind));
    return commit.apply(own, given);
  };
  expect(await results([key(1, { facts: { served: { time: 3, region: "b" } } })])).toEqual([
    "written",
  ]);
  expect(own.calls).toEqual(["read 1", "commit 1"]);
  expect(kinds).toEqual(["update"]);
  expect(await get(id1)).toMatchObject({
    facts: { served: { time: 3, region: "b" } },
    registers: [{ stamp: register.stamp }],
  });
});

test("a late copy of a destroyed record changes nothing, and brings no material back", async () => {
  const { results, get } = await world();
  await results([key(1, { facts: destroyed })]);
  expect((await get(id1))?.material).toBeUndefined();
  expect(await results([key(1)])).toEqual(["same"]);
  expect(await get(id1)).toMatchObject({ material: undefined, facts: destroyed });
});

test("a copy with another immutable part is put aside and reported; the own record stays", async () => {
  const { own, events, results, get } = await world();
  await results([key(1)]);
  expect(await results([key(1, { objectType: 4 }), key(2)])).toEqual(["quarantined", "written"]);
  expect((await get(id1))?.objectType).toBe(2);
  expect(await own.quarantined()).toBe(1);
  expect(own.aside).toEqual([encodeRecord(key(1, { objectType: 4 }))]);
  const { kekId = "" } = key(1).material ?? {};
  const sealed = { kekId, nonce: new Uint8Array(12), ciphertext: new Uint8Array(3) };
  expect(await results([key(1, { material: sealed })])).toEqual(["quarantined"]);
  expect(events).toContainEqual({ type: "join", region: "b", result: "quarantined" });
});

test("a copy under another KEK is joined, and the own seals stay, as during a rekey", async () => {
  const { own, results, get } = await world();
  await results([key(1)]);
  const sealed = { kekId: id1, nonce: new Uint8Array(12), ciphertext: new Uint8Array(3) };
  const activated = { time: 9, region: "b" };
  const copy = key(1, { material: sealed, facts: { activated } });
  expect(await results([copy])).toEqual(["written"]);
  expect(await get(id1)).toMatchObject({ facts: { activated }, material: key(1).material });
  expect(await results([key(1, { material: undefined, facts: { activated } })])).toEqual([
    "quarantined",
  ]);
  expect(await results([key(1, { material: undefined, facts: destroyed })])).toEqual(["written"]);
  expect((await get(id1))?.material).toBeUndefined();
  expect(await own.quarantined()).toBe(1);
});

test("two copies of one record in one merge become one, in any order", async () => {
  const { own, results, get } = await world();
  const both = [key(1, { facts: activated }), key(1, { lastChange: 1_900_000_000 })];
  expect(await results(both)).toEqual(["written", "written"]);
  expect(own.calls).toEqual(["commit 1"]);
  expect(await get(id1)).toMatchObject({ facts: activated, lastChange: 1_900_000_000 });
  const different = [2, 4, 5].map((objectType) => key(3, { objectType }));
  expect(await results(different)).toEqual(["written", "quarantined", "quarantined"]);
});

test("a record that does not decode is replaced by the copy, and its bytes are kept", async () => {
  const { own, results, get } = await world();
  await results([key(1), key(2)]);
  own.damage(id1);
  expect(await results([key(2), key(1, { facts: activated })])).toEqual(["same", "written"]);
  expect((await get(id1))?.facts).toEqual(activated);
  expect(await own.quarantined()).toBe(1);
});

test("a copy that may be older takes a damaged record's place only if nothing else repairs it", async () => {
  const { own, results, get } = await world();
  const whole = key(1, { registers: [sampleRegister(groupItem("g"), 5)] });
  const served = { served: { time: 3, region: "b" } };
  const late = key(1, { facts: served });
  await results([whole]);
  own.damage(id1);
  const asked: string[][] = [];
  const repair = async (of: string, id: string) => {
    asked.push([of, id]);
    await own.quarantine(of, id, "it does not decode", { replacement: whole });
  };
  expect(await results([late], { repair })).toEqual(["written"]);
  expect(await get(id1)).toMatchObject({ facts: served, registers: whole.registers });
  own.damage(id1);
  expect(await results([key(1)], { repair })).toEqual(["written"]);
  expect(await get(id1)).toEqual(whole);
  expect(asked).toEqual(Array(2).fill([whole.instance, id1]));
  own.damage(id1);
  const unreached = async () => {
    throw new StoreUnavailable("corrupt", "no region has a copy");
  };
  expect(await results([late], { repair: unreached })).toEqual(["quarantined"]);
  expect(own.aside.at(-1)).toEqual(encodeRecord(late));
  await expect(get(id1)).rejects.toMatchObject({ failure: "corrupt" });
  expect(await results([late], { repair: async () => undefined })).toEqual(["written"]);
  expect(await get(id1)).toEqual(late);
});

test("a copy without the last state of a damaged record is put aside and does not replace it", async () => {
  const { own, results, get } = await world();
  const deactivated = { ...activated, deactivated: { time: 1_700_000_009, region: "a" } };
  await results([key(1, { facts: deactivated }), key(2)]);
  own.damage(id1);
  const copies = [key(1, { facts: activated }), key(2, { facts: activated })];
  expect(await results(copies)).toEqual(["quarantined", "written"]);
  await expect(get(id1)).rejects.toMatchObject({ failure: "corrupt" });
  expect(await own.quarantined()).toBe(1);
  expect(own.aside).toEqual([undefined, encodeRecord(key(1, { facts: activated }))]);
  const elsewhere = { ...activated, deactivated: { time: 1_700_000_099, region: "b" } };
  expect(await results([key(1, { facts: elsewhere })])).toEqual(["written"]);
  expect((await get(id1))?.facts).toEqual(elsewhere);
});

test("a record of a newer format is left as it is, and does not stop the others", async () => {
  const { own, events, results, get } = await world();
  await results([key(1), key(2)]);
  own.damage(id1, true);
  const copies = [key(1, { facts: activated }), key(2, { facts: activated }), key(1)];
  expect(await results(copies)).toEqual(["unreadable", "written", "unreadable"]);
  await expect(get(id1)).rejects.toMatchObject({ failure: "unknownFormat" });
  expect(await own.quarantined()).toBe(0);
  expect(events).toContainEqual({ type: "join", region: "b", result: "unreadable" });
});

test("a record that was repaired meanwhile is joined with the copy, not replaced by it", async () => {
  const { own, results, get } = await world();
  await results([key(1, { facts: activated })]);
  own.damage(id1);
  const quarantine = own.quarantine.bind(own);
  let once = true;
  own.quarantine = async (...given) => {
    if (once) {
      once = false;
      await quarantine(given[0], given[1], "", {
        replacement: key(1, { facts: { ...activated, ...destroyed } }),
      });
    }
    return await quarantine(...given);
  };
  const served = { ...activated, served: { time: 3, region: "b" } };
  expect(await results([key(1, { facts: served })])).toEqual(["written"]);
  expect((await get(id1))?.facts).toMatchObject({ ...served, ...destroyed });
});

test("an older state of a damaged record is joined with the copy, and is dropped where both cannot be true", async () => {
  const { own, results } = await world();
  await results([key(1)]);
  own.damage(id1);
  const quarantine = own.quarantine.bind(own);
  let join: NonNullable<Parameters<typeof quarantine>[3]>["join"];
  own.quarantine = async (...given) => {
    join = given[3]?.join;
    return await quarantine(...given);
  };
  const copy = key(1, { facts: activated });
  await results([copy]);
  const served = { served: { time: 3, region: "a" } };
  expect(join?.(key(1, { facts: served }), copy).facts).toEqual({ ...activated, ...served });
  expect(join?.(key(1, { objectType: 4 }), copy)).toBe(copy);
});

describe("a record that no region makes is refused and the others are written", () => {
  const registers = (from: number, region = "a", length = 5_000) =>
    Array.from({ length }, (_, at) => ({
      ...sampleRegister(groupItem("g"), 5, "", from + at),
      stamp: { us: 5, region: `${region}${at % 200}` },
    }));

  test("if its identifier is malformed", async () => {
    const { own, events, results } = await world();
    expect(await results([key(1, { uniqueIdentifier: "key" }), key(2)])).toEqual([
      "refused",
      "written",
    ]);
    expect(await own.quarantined()).toBe(0);
    expect(events).toContainEqual({
      type: "warning",
      message: "record key of region b is refused: malformed identifier",
    });
    await results([key(1, { uniqueIdentifier: "k".repeat(100) })]);
    const message = `record ${"k".repeat(36)} of region b is refused: malformed identifier`;
    expect(events).toContainEqual({ type: "warning", message });
  });

  test("if it has too many attributes or regions", async () => {
    const { results, get } = await world();
    const many = key(1, { registers: registers(0) });
    expect(await results([many])).toEqual(["written"]);
    expect(await results([key(1, { registers: registers(5_000) }), key(2)])).toEqual([
      "refused",
      "written",
    ]);
    expect(await results([key(1, { registers: registers(5_000, "b", 200) }), key(3)])).toEqual([
      "refused",
      "written",
    ]);
    expect((await get(id1))?.registers).toHaveLength(5_000);
    expect(await results([key(4, { registers: [...registers(0), ...registers(5_000)] })])).toEqual([
      "refused",
    ]);
  });

  test("if it is a destroyed system record: that of a KEK closes every key of its instance", async () => {
    const { own, results } = await world();
    for (const objectType of [recordKinds.Kek.type, recordKinds.Region.type, 2, 0x8000ffff]) {
      const kek = { ...sampleObject(systemInstance, randomUUID()), objectType };
      expect(await results([kek])).toEqual(["written"]);
      expect(await results([{ ...kek, facts: destroyed }, key(2)])).toContain("refused");
      const [stored] = await own.read(systemInstance, [kek.uniqueIdentifier]);
      expect(stored?.object.facts).toEqual({});
    }
  });

  test("but not if it is a destroyed record of a kind that management deletes", async () => {
    const { results } = await world();
    const { Instance, Certificate, Token, User, Authority, Setting, Backup } = recordKinds;
    const kinds = [Instance, Certificate, Token, User, Authority, Setting, Backup];
    for (const { type: objectType } of kinds) {
      const made = { ...sampleObject(systemInstance, randomUUID()), objectType };
      expect(await results([made])).toEqual(["written"]);
      expect(await results([{ ...made, facts: destroyed, material: undefined }])).toEqual([
        "written",
      ]);
    }
  });

  test("and a region name in a record is cut for the metrics", async () => {
    const { events, results } = await world();
    const stamp = { us: 2 ** 52, region: "x".repeat(5_000) };
    await results([key(1, { registers: [{ ...sampleRegister(groupItem("g"), 5), stamp }] })]);
    const ahead = events.find(({ type }) => type === "clockAhead");
    expect(ahead).toMatchObject({ region: "x".repeat(63) });
  });
});

describe("a record that an agreed operation holds", () => {
  test("is reported, and the others are written", async () => {
    const { own, time, results, get } = await world();
    await results([key(1)]);
    await own.reserve(instance, [id1], "operation");
    const changed = key(1, { facts: activated });
    expect(await results([changed, key(2)])).toEqual(["reserved", "written"]);
    expect(own.calls).toEqual(["commit 2", "read 2", "commit 1"]);
    expect(time.monotonicMs()).toBe(0);
    expect((await get(id1))?.facts).toEqual({});
    // What is there already needs no change.
    expect(await results([key(1)])).toEqual(["same"]);
  });

  test("is waited for as long as asked", async () => {
    const { own, time, results, get } = await world();
    await results([key(1)]);
    await own.reserve(instance, [id1], "operation");
    const ended = time.sleep(300).then(() => own.release(instance, "operation"));
    const changed = key(1, { facts: activated });
    expect(await results([changed], { reservedMs: 2_000 })).toEqual(["written"]);
    await ended;
    expect((await get(id1))?.facts).toEqual(activated);
    await own.reserve(instance, [id1], "other");
    const started = time.monotonicMs();
    expect(await results([key(1, { facts: destroyed })], { reservedMs: 2_500 })).toEqual([
      "reserved",
    ]);
    expect(time.monotonicMs() - started).toBe(2_500);
  });

  test("is not created while the reservation lasts", async () => {
    const { own, results, get } = await world();
    await own.reserve(instance, [id1], "operation");
    expect(await results([key(1)])).toEqual(["reserved"]);
    expect(await get(id1)).toBeUndefined();
    expect(await results([key(2), key(1)])).toEqual(["written", "reserved"]);
  });
});

test("the change of a writer in between is joined, not overwritten", async () => {
  const { own, results, get } = await world();
  await results([key(1, { registers: [sampleRegister(groupItem("g"), 5)] })]);
  const read = own.read.bind(own);
  let once = true;
  own.read = async (...given) => {
    const copies = await read(...given);
    const [before] = copies;
    if (once && before !== undefined) {
      once = false;
      const after = { ...before.object, facts: { served: { time: 1, region: "a" } } };
      await own.commit(instance, [{ kind: "update", before, after }], []);
    }
    return copies;
  };
  expect(await results([key(1, { facts: { served: { time: 2, region: "b" } } })])).toEqual([
    "same",
  ]);
  expect((await get(id1))?.facts.served).toEqual({ time: 1, region: "a" });
  expect(await results([key(1, { facts: destroyed })])).toEqual(["written"]);
});

test("records of a deleted instance are refused, except destroyed ones", async () => {
  const { own, results, get } = await world();
  expect(await results([key(1)])).toEqual(["written"]);
  own.instances.statusOf = () => "Deleted";
  const gone = key(3, { facts: destroyed, material: undefined });
  expect(await results([key(1, { lastChange: 9 }), key(2), gone])).toEqual([
    "refused",
    "refused",
    "written",
  ]);
  expect((await get(gone.uniqueIdentifier))?.facts.destroyed).toBeDefined();
  expect(await get(key(2).uniqueIdentifier)).toBeUndefined();
  expect(await results([key(1, { facts: destroyed })])).toEqual(["written"]);
});

test("many records of many instances are written in commits of at most 64", async () => {
  const { own, results } = await world();
  await own.instances.ensure("second", "second");
  const many = Array.from({ length: 150 }, (_, at) => key(at));
  const others = many.slice(0, 3).map((object) => ({ ...object, instance: "second" }));
  const outcomes = await results([...many, ...others]);
  expect(new Set(outcomes)).toEqual(new Set(["written"]));
  expect(own.calls.toSorted()).toEqual(["commit 22", "commit 3", "commit 64", "commit 64"]);
});

test("a copy with an identifier of another instance of the partition is put aside", async () => {
  const { own, results } = await world();
  await results([key(1)]);
  const { partitionOf } = await import("@holdfast/engine");
  const twin = Array.from({ length: 1_000 }, (_, at) => `twin ${at}`).find(
    (name) => partitionOf(name) === partitionOf(instance),
  );
  await own.instances.ensure(twin ?? "", "twin");
  const copy = key(1, { instance: twin ?? "" });
  expect(await results([copy])).toEqual(["quarantined"]);
  expect(own.aside).toEqual([encodeRecord(copy)]);
});

test("a clock of another region that is ahead is reported, and its stamp is accepted", async () => {
  const { time, events, results } = await world();
  const us = (time.wallMs() + 60_000) * 1_000;
  const register = { ...sampleRegister(groupItem("g"), us), stamp: { us, region: "b" } };
  expect(await results([key(1, { registers: [register] })])).toEqual(["written"]);
  expect(events).toContainEqual({ type: "clockAhead", region: "b", ms: 60_000 });
  // Of several clocks, the one that is furthest ahead.
  const others = ["c", "d", "e"].map((region, at) => {
    const later = { us: us + Math.min(at, 1) * 1_000, region };
    return key(at + 2, { registers: [{ ...register, stamp: later }] });
  });
  for (const order of [others, others.toReversed()]) {
    events.length = 0;
    await results(order);
    const region = order === others ? "d" : "e";
    expect(events).toContainEqual({ type: "clockAhead", region, ms: 60_001 });
  }
});
