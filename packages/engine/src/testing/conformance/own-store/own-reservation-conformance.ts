import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { destroyed, failureOf, idsOf, type OwnWorld } from "./own-world-conformance.ts";

type Make = () => Promise<OwnWorld>;

const reserved = { kind: "reserved" } as const;

/** How records are reserved and released. */
export function reserving(world: Make): void {
  test("reserves all records or none", async () => {
    const w = await world();
    const [a, b, c] = [await w.created(), await w.created(), await w.created()];
    expect(await w.reserve(idsOf(a, b), "one")).toEqual(reserved);
    const outcome = await w.reserve([...idsOf(c), ...idsOf(b)], "two");
    expect(outcome).toEqual({
      kind: "held",
      uniqueIdentifier: b.object.uniqueIdentifier,
      operation: "one",
    });
    expect(await w.heldBy("one")).toEqual(idsOf(a, b));
    expect(await w.heldBy("two")).toEqual([]);
    expect((await w.get(c.object.uniqueIdentifier)).reserved).toBeUndefined();
  });

  test("the same operation may reserve again, and more", async () => {
    const w = await world();
    const [a, b] = [await w.created(), await w.created()];
    await w.reserve(idsOf(a), "one");
    expect(await w.reserve(idsOf(a, b), "one")).toEqual(reserved);
    expect(await w.heldBy("one")).toEqual(idsOf(a, b));
    expect(await w.store.release(w.instance, "one")).toBe(2);
  });

  test("records its operation, its instance, and since when", async () => {
    const w = await world();
    const a = await w.created();
    const operation = randomUUID();
    await w.reserve(idsOf(a), operation);
    const [found, ...more] = await w.reservations();
    expect(more).toEqual([]);
    expect(found).toMatchObject({ operation, instance: w.instance, ids: idsOf(a) });
    expect(found?.sinceMs).toBeGreaterThanOrEqual(0);
    expect(Number.isSafeInteger(found?.sinceMs)).toBe(true);
  });

  test("a record that does not exist can be reserved; then no other writer may make it", async () => {
    const w = await world();
    const object = w.object();
    const { uniqueIdentifier } = object;
    expect(await w.reserve([uniqueIdentifier], "one")).toEqual(reserved);
    expect(await w.maybe(uniqueIdentifier)).toBeUndefined();
    expect(await w.create(object)).toEqual({ ...reserved, uniqueIdentifier, operation: "one" });
    expect(await w.create(object, { joined: true, operation: "one" })).toEqual({
      kind: "committed",
    });
    expect(await w.reservations()).toEqual([]);
    expect((await w.get(uniqueIdentifier)).reserved).toBeUndefined();
  });

  test("release returns how many there were, once", async () => {
    const w = await world();
    const [a, b] = [await w.created(), await w.created()];
    await w.reserve(idsOf(a, b), "one");
    expect(await w.store.release(w.instance, "other")).toBe(0);
    expect(await w.store.release(w.instance, "one")).toBe(2);
    expect(await w.store.release(w.instance, "one")).toBe(0);
    expect(await w.update(a, { lastChange: 2 })).toEqual({ kind: "committed" });
  });

  test("an operation's reservations in another instance stay, of the same partition too", async () => {
    const w = await world();
    const n = await w.neighbour();
    const [a, b] = [await w.created(), await n.created()];
    await w.reserve(idsOf(a), "one");
    await n.reserve(idsOf(b), "one");
    expect(await w.store.release(w.instance, "one")).toBe(1);
    expect(await n.heldBy("one")).toEqual(idsOf(b));
    expect(await n.update(b, { lastChange: 2 }, { operation: "one" })).toEqual({
      kind: "committed",
    });
  });

  test("only one of several operations that want the same records gets them", async () => {
    const w = await world();
    const ids = idsOf(await w.created(), await w.created(), await w.created());
    const outcomes = await Promise.all([
      w.reserve(ids, "one"),
      w.reserve(ids.toReversed(), "two"),
      w.reserve(ids.slice(1), "three"),
    ]);
    expect(outcomes.filter(({ kind }) => kind === "reserved")).toHaveLength(1);
    const held = (await w.reservations()).map(({ operation }) => operation);
    expect(held).toHaveLength(1);
    const winner = ["one", "two", "three"][outcomes.findIndex(({ kind }) => kind === "reserved")];
    expect(held).toEqual([winner]);
  });

  test("a leader that was deposed releases nothing", async () => {
    const w = await world();
    const a = await w.created();
    await w.reserve(idsOf(a), "one");
    const old = await w.store.newEpoch();
    const epoch = await w.store.newEpoch();
    expect(await failureOf(w.store.release(w.instance, "one", old))).toBe("deposed");
    expect(await w.heldBy("one")).toEqual(idsOf(a));
    expect(await w.store.release(w.instance, "one", epoch)).toBe(1);
  });
}

/** What a reservation means for readers and writers of the record. */
export function held(world: Make): void {
  test("refuses every other change and its whole commit, and nothing is written", async () => {
    const w = await world();
    const [a, b] = [await w.created(), await w.created()];
    const { uniqueIdentifier } = a.object;
    await w.reserve([uniqueIdentifier], "one");
    const refusal = { ...reserved, uniqueIdentifier, operation: "one" };
    expect(await w.update(a, { lastChange: 2 })).toEqual(refusal);
    expect(await w.update(a, { lastChange: 2 }, { joined: true })).toEqual(refusal);
    expect(await w.update(a, { lastChange: 2 }, { operation: "two" })).toEqual(refusal);
    const changes = [b, a].map((before) => {
      return { kind: "update", before, after: { ...before.object, lastChange: 3 } } as const;
    });
    expect(await w.commit(changes)).toEqual(refusal);
    expect((await w.get(uniqueIdentifier)).tag).toBe(a.tag);
    expect((await w.get(b.object.uniqueIdentifier)).tag).toBe(b.tag);
    expect(await w.update(b, { lastChange: 4 })).toEqual({ kind: "committed" });
  });

  test("is not marked as served", async () => {
    const w = await world();
    const a = await w.created();
    const after = { ...a.object, facts: { served: { time: 1, region: "a" } } };
    await w.reserve(idsOf(a), "one");
    expect(await w.store.markServed(w.instance, a, after)).toBe(false);
    expect((await w.get(a.object.uniqueIdentifier)).tag).toBe(a.tag);
    await w.store.release(w.instance, "one");
    expect(await w.store.markServed(w.instance, a, after)).toBe(true);
  });

  test("is returned by read and find with its holder, and its neighbours without", async () => {
    const w = await world();
    const [a, b] = [await w.created(), await w.created()];
    const operation = randomUUID();
    await w.reserve(idsOf(a), operation);
    const read = await w.store.read(w.instance, [
      b.object.uniqueIdentifier,
      randomUUID(),
      a.object.uniqueIdentifier,
    ]);
    expect(read.map((stored) => stored?.reserved)).toEqual([undefined, undefined, operation]);
    expect(read[2]?.tag).toBe(a.tag);
    const found = await w.found();
    expect(found.map(({ object, reserved }) => [object.uniqueIdentifier, reserved])).toEqual([
      [b.object.uniqueIdentifier, undefined],
      [a.object.uniqueIdentifier, operation],
    ]);
    await w.store.release(w.instance, operation);
    expect((await w.found()).map((stored) => stored.reserved)).toEqual([undefined, undefined]);
    expect((await w.get(a.object.uniqueIdentifier)).reserved).toBeUndefined();
  });

  test("a reservation is not a change", async () => {
    const w = await world();
    const a = await w.created();
    const [number, digests] = [await w.number(), await w.store.digests(w.partition)];
    await w.reserve(idsOf(a), "one");
    await w.store.release(w.instance, "one");
    await w.reserve(idsOf(a), "two");
    expect(await w.number()).toBe(number);
    expect(await w.store.digests(w.partition)).toEqual(digests);
    expect((await w.get(a.object.uniqueIdentifier)).tag).toBe(a.tag);
  });

  test("is still among the changes, and is found under its terms", async () => {
    const w = await world();
    const before = await w.number();
    const a = await w.created(w.named("n"));
    await w.reserve(idsOf(a), "one");
    expect(await w.changed(before)).toEqual(idsOf(a));
    expect((await w.create(w.named("n"))).kind).toBe("nameTaken");
    const { objects } = await w.store.records(w.partition, idsOf(a));
    expect(objects.map(({ uniqueIdentifier }) => uniqueIdentifier)).toEqual(idsOf(a));
  });
}

/** Writes of agreed operations. */
export function agreed(world: Make): void {
  test("a write ends all reservations of its operation in the same step", async () => {
    const w = await world();
    const [a, b, c] = [await w.created(), await w.created(), await w.created()];
    await w.reserve(idsOf(a, b), "one");
    await w.reserve(idsOf(c), "two");
    let during: Promise<readonly (string | undefined)[]> = Promise.resolve([]);
    const outcome = await w.update(a, destroyed, {
      operation: "one",
      written: () => {
        during = w.store
          .read(w.instance, idsOf(a, b))
          .then((stored) => stored.map((each) => each?.reserved));
      },
    });
    expect(outcome).toEqual({ kind: "committed" });
    expect(await during).toEqual([undefined, undefined]);
    expect(await w.heldBy("one")).toEqual([]);
    expect(await w.heldBy("two")).toEqual(idsOf(c));
    expect((await w.get(a.object.uniqueIdentifier)).object.facts.destroyed).toBeDefined();
    expect(await w.update(b, { lastChange: 2 })).toEqual({ kind: "committed" });
  });

  test("a write whose reservation has ended is refused, and writes nothing", async () => {
    const w = await world();
    const [a, b] = [await w.created(), await w.created()];
    const { uniqueIdentifier } = a.object;
    const lost = { kind: "reservationLost", uniqueIdentifier };
    expect(await w.update(a, destroyed, { operation: "one" })).toEqual(lost);
    await w.reserve(idsOf(a, b), "one");
    await w.store.release(w.instance, "one");
    expect(await w.update(a, destroyed, { operation: "one" })).toEqual(lost);
    await w.reserve(idsOf(b), "one");
    const changes = [b, a].map((before) => {
      return { kind: "update", before, after: { ...before.object, ...destroyed } } as const;
    });
    expect(await w.commit(changes, { operation: "one" })).toEqual(lost);
    expect((await w.get(uniqueIdentifier)).tag).toBe(a.tag);
    expect((await w.get(b.object.uniqueIdentifier)).tag).toBe(b.tag);
    expect(await w.heldBy("one")).toEqual(idsOf(b));
  });

  test("a second write under the same operation is refused", async () => {
    const w = await world();
    const a = await w.created();
    await w.reserve(idsOf(a), "one");
    await w.update(a, { lastChange: 2 }, { operation: "one" });
    const now = await w.get(a.object.uniqueIdentifier);
    expect((await w.update(now, { lastChange: 3 }, { operation: "one" })).kind).toBe(
      "reservationLost",
    );
  });

  test("a write by an older tag is a conflict, and the reservations stay", async () => {
    const w = await world();
    const a = await w.created();
    await w.update(a, { lastChange: 2 });
    await w.reserve(idsOf(a), "one");
    expect(await w.update(a, destroyed, { operation: "one" })).toEqual({
      kind: "conflict",
      uniqueIdentifier: a.object.uniqueIdentifier,
    });
    expect(await w.heldBy("one")).toEqual(idsOf(a));
  });

  test("a write that changes nothing ends its reservations too", async () => {
    const w = await world();
    const a = await w.created();
    await w.reserve(idsOf(a), "one");
    expect(await w.update(a, {}, { operation: "one", joined: true })).toEqual({
      kind: "committed",
    });
    expect(await w.reservations()).toEqual([]);
    expect((await w.get(a.object.uniqueIdentifier)).reserved).toBeUndefined();
  });

  test("several updates under one operation are one step", async () => {
    const w = await world();
    const all = [await w.created(), await w.created(), await w.created()];
    await w.reserve(idsOf(...all), "one");
    const changes = all.map((before) => {
      return { kind: "update", before, after: { ...before.object, ...destroyed } } as const;
    });
    expect(await w.commit(changes, { operation: "one", agreed: true })).toEqual({
      kind: "committed",
    });
    expect(await w.found()).toEqual([]);
    expect(await w.found({ live: false, destroyed: true })).toHaveLength(3);
    expect(await w.reservations()).toEqual([]);
  });

  test("either a write under an operation or its release wins completely", async () => {
    const w = await world();
    for (let round = 0; round < 10; round += 1) {
      const a = await w.created();
      await w.reserve(idsOf(a), "one");
      const [count, outcome] = await Promise.all([
        w.store.release(w.instance, "one"),
        w.update(a, { lastChange: 7 }, { operation: "one" }),
      ]);
      const { lastChange } = (await w.get(a.object.uniqueIdentifier)).object;
      if (count === 1) {
        expect(outcome.kind).toBe("reservationLost");
        expect(lastChange).toBe(a.object.lastChange);
      } else {
        expect(outcome.kind).toBe("committed");
        expect(lastChange).toBe(7);
      }
    }
  });
}
