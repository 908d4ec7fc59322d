import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Register } from "../../record/record.ts";
import { encodeRecord, tagOf } from "../../record/record-codec.ts";
import { termFor } from "../../system/index-terms.ts";
import {
  customItem,
  groupItem,
  nameItem,
  sampleObject,
  sampleRegister,
} from "./managed-object-conformance.ts";
import { auditEvent, destroyedFact, type ObjectStoreSubject, World } from "./world-conformance.ts";

/** What every `ObjectStore` does. The subject is opened once; each test uses an instance of its own. */
export function objectStoreConformance(
  name: string,
  open: () => Promise<ObjectStoreSubject>,
): void {
  describe(`${name} as an object store`, () => {
    let opened: ObjectStoreSubject;
    beforeAll(async () => {
      opened = await open();
    });
    afterAll(async () => {
      await opened?.close();
    });
    const world = (): Promise<World> => World.make(opened);

    readsAndWrites(world);
    uniqueNames(world);
    allOrNone(world);
    finds(world);
    served(world);
    evidence(world);
  });
}

type Make = () => Promise<World>;

function readsAndWrites(world: Make): void {
  test("a created object is read back with the same bytes and tag", async () => {
    const w = await world();
    const object = w.named("first");
    const stored = await w.created(object);
    expect(stored.tag).toBe(tagOf(encodeRecord(object)));
    expect(Buffer.from(encodeRecord(stored.object))).toEqual(Buffer.from(encodeRecord(object)));
  });

  test("results are in the order of the identifiers, and undefined for absent objects", async () => {
    const w = await world();
    const [a, b] = [w.object(), w.object()];
    await w.create(a, b);
    const ids = [b.uniqueIdentifier, randomUUID(), a.uniqueIdentifier, b.uniqueIdentifier];
    const answers = await w.store.read(w.instance, ids);
    expect(answers.map((stored) => stored?.object.uniqueIdentifier)).toEqual([
      b.uniqueIdentifier,
      undefined,
      a.uniqueIdentifier,
      b.uniqueIdentifier,
    ]);
    expect(await w.store.read(w.instance, [])).toEqual([]);
  });

  test("an existing identifier is not created again, and its object stays as it was", async () => {
    const w = await world();
    const stored = await w.created(w.object());
    const { uniqueIdentifier } = stored.object;
    expect(await w.create({ ...stored.object, lastChange: 1 })).toEqual({
      kind: "conflict",
      uniqueIdentifier,
    });
    expect((await w.get(uniqueIdentifier)).tag).toBe(stored.tag);
  });

  test("an update by the current tag is written, and one by an older tag is refused", async () => {
    const w = await world();
    const first = await w.created(w.object());
    const { uniqueIdentifier } = first.object;
    expect(await w.update(first, { ...first.object, lastChange: 2 })).toMatchObject({
      kind: "committed",
    });
    expect((await w.get(uniqueIdentifier)).object.lastChange).toBe(2);
    expect(await w.update(first, { ...first.object, lastChange: 3 })).toEqual({
      kind: "conflict",
      uniqueIdentifier,
    });
    expect((await w.get(uniqueIdentifier)).object.lastChange).toBe(2);
  });

  test("an update of an object that does not exist is a conflict", async () => {
    const w = await world();
    const object = w.object();
    const before = { object, tag: tagOf(encodeRecord(object)) };
    const { uniqueIdentifier } = object;
    expect(await w.update(before, { ...object, lastChange: 2 })).toEqual({
      kind: "conflict",
      uniqueIdentifier,
    });
    expect(await w.maybe(uniqueIdentifier)).toBeUndefined();
  });

  test("exactly one of many updates by the same tag is written", async () => {
    const w = await world();
    const before = await w.created(w.object());
    const outcomes = await Promise.all(
      [11, 12, 13, 14, 15].map((lastChange) => w.update(before, { ...before.object, lastChange })),
    );
    expect(outcomes.filter(({ kind }) => kind === "committed")).toHaveLength(1);
    const winner = outcomes.findIndex(({ kind }) => kind === "committed");
    expect((await w.get(before.object.uniqueIdentifier)).object.lastChange).toBe(11 + winner);
  });

  test("a change that changes nothing is committed; by an older tag it is a conflict", async () => {
    const w = await world();
    const first = await w.created(w.object());
    expect(await w.update(first, first.object)).toMatchObject({ kind: "committed" });
    expect((await w.get(first.object.uniqueIdentifier)).tag).toBe(first.tag);
    await w.update(first, { ...first.object, lastChange: 2 });
    expect((await w.update(first, first.object)).kind).toBe("conflict");
    expect(await w.audit()).toEqual(["create", "update", "update"]);
  });

  test("another instance's object is not found", async () => {
    const [mine, other] = [await world(), await world()];
    const stored = await mine.created(mine.named("shared name"));
    const { uniqueIdentifier } = stored.object;
    expect(await other.maybe(uniqueIdentifier)).toBeUndefined();
    expect(await other.find()).toEqual([]);
    expect(await other.find({ term: termFor(nameItem("shared name")) ?? "" })).toEqual([]);
    const taken = { ...stored.object, instance: other.instance, lastChange: 5 };
    expect((await other.update(stored, taken)).kind).toBe("conflict");
    expect(await other.store.markServed(other.instance, stored, taken)).toBe(false);
    expect((await mine.get(uniqueIdentifier)).tag).toBe(stored.tag);
    expect(await other.create(other.named("shared name"))).toMatchObject({ kind: "committed" });
  });

  test("an unknown instance is closed, and a commit does not open it", async () => {
    const w = await world();
    const unknown = randomUUID();
    const object = sampleObject(unknown, randomUUID());
    const change = { kind: "create", after: object } as const;
    expect(await w.store.commit(unknown, [change], [])).toEqual({ kind: "instanceClosed" });
    expect(await w.store.read(unknown, [object.uniqueIdentifier])).toEqual([undefined]);
  });

  test("ensuring an instance again changes nothing", async () => {
    const w = await world();
    const { object } = await w.created(w.object());
    expect(await w.opened.instances.ensure(w.instance, "conformance")).toBe("Installed");
    expect(await w.find()).toEqual([object.uniqueIdentifier]);
  });
}

function uniqueNames(world: Make): void {
  test("a name is unique in an instance", async () => {
    const w = await world();
    const first = await w.created(w.named("n"));
    const second = w.named("n");
    const { uniqueIdentifier } = second;
    expect(await w.create(second)).toEqual({ kind: "nameTaken", uniqueIdentifier, name: "n" });
    expect(await w.maybe(uniqueIdentifier)).toBeUndefined();
    const third = await w.created(w.object());
    expect(
      await w.update(third, {
        ...third.object,
        registers: [sampleRegister(nameItem("n"), 2)],
      }),
    ).toEqual({
      kind: "nameTaken",
      uniqueIdentifier: third.object.uniqueIdentifier,
      name: "n",
    });
    expect(await w.find({ term: termFor(nameItem("n")) ?? "" })).toEqual([
      first.object.uniqueIdentifier,
    ]);
  });

  test("an object keeps its own name through updates", async () => {
    const w = await world();
    const stored = await w.created(w.named("n"));
    expect(await w.update(stored, { ...stored.object, lastChange: 2 })).toMatchObject({
      kind: "committed",
    });
    expect((await w.create(w.named("n"))).kind).toBe("nameTaken");
  });

  test("a name is free again when its object drops it", async () => {
    const w = await world();
    const stored = await w.created(w.named("n"));
    const [register] = stored.object.registers;
    const dropped = { ...register, value: undefined, stamp: { us: 2, region: "a" } } as Register;
    await w.update(stored, { ...stored.object, registers: [dropped] });
    expect(await w.create(w.named("n"))).toMatchObject({ kind: "committed" });
  });

  test("a name is free again when its object is destroyed, and then finds both objects", async () => {
    const w = await world();
    const old = await w.created(w.named("n"));
    const { material: _, ...rest } = old.object;
    await w.update(old, { ...rest, material: undefined, facts: destroyedFact });
    const made = await w.created(w.named("n"));
    const term = termFor(nameItem("n")) ?? "";
    expect(await w.find({ term, destroyed: true })).toEqual([
      made.object.uniqueIdentifier,
      old.object.uniqueIdentifier,
    ]);
    expect(await w.find({ term })).toEqual([made.object.uniqueIdentifier]);
    expect(await w.find({ term, live: false, destroyed: true })).toEqual([
      old.object.uniqueIdentifier,
    ]);
  });

  test("a change of a destroyed object does not take its old name back", async () => {
    const w = await world();
    const old = await w.created(w.named("n"));
    await w.update(old, { ...old.object, material: undefined, facts: destroyedFact });
    await w.created(w.named("n"));
    const destroyed = await w.get(old.object.uniqueIdentifier);
    expect(await w.update(destroyed, { ...destroyed.object, lastChange: 9 })).toMatchObject({
      kind: "committed",
    });
    expect((await w.create(w.named("n"))).kind).toBe("nameTaken");
  });
}

function allOrNone(world: Make): void {
  test("a conflict in the last of several changes undoes the first", async () => {
    const w = await world();
    const stored = await w.created(w.object());
    await w.update(stored, { ...stored.object, lastChange: 2 });
    const made = w.named("never");
    const outcome = await w.store.commit(
      w.instance,
      [
        { kind: "create", after: made },
        { kind: "update", before: stored, after: { ...stored.object, lastChange: 3 } },
      ],
      [auditEvent("batch")],
    );
    expect(outcome).toEqual({
      kind: "conflict",
      uniqueIdentifier: stored.object.uniqueIdentifier,
    });
    expect(await w.maybe(made.uniqueIdentifier)).toBeUndefined();
    expect(await w.find()).toEqual([stored.object.uniqueIdentifier]);
    expect(await w.audit()).toEqual(["create", "update"]);
    expect(await w.create(w.named("never"))).toMatchObject({ kind: "committed" });
  });

  test("a name taken in the last of several changes undoes the first", async () => {
    const w = await world();
    await w.created(w.named("n"));
    const [first, second] = [w.named("m"), w.named("n")];
    const { uniqueIdentifier } = second;
    expect(await w.create(first, second)).toEqual({
      kind: "nameTaken",
      uniqueIdentifier,
      name: "n",
    });
    expect(await w.maybe(first.uniqueIdentifier)).toBeUndefined();
    expect(await w.find({ term: termFor(nameItem("m")) ?? "" })).toEqual([]);
  });

  test("two changes of one commit do not get the same name", async () => {
    const w = await world();
    const [first, second] = [w.named("n"), w.named("n")];
    expect((await w.create(first, second)).kind).toBe("nameTaken");
    expect(await w.find()).toEqual([]);
  });

  test("a commit may free a name and take it", async () => {
    const w = await world();
    const old = await w.created(w.named("n"));
    const made = w.named("n");
    const outcome = await w.store.commit(
      w.instance,
      [
        { kind: "create", after: made },
        {
          kind: "update",
          before: old,
          after: { ...old.object, material: undefined, facts: destroyedFact },
        },
      ],
      [],
    );
    expect(outcome).toMatchObject({ kind: "committed" });
    expect((await w.create(w.named("n"))).kind).toBe("nameTaken");
    expect(await w.find()).toEqual([made.uniqueIdentifier]);
  });
}

function finds(world: Make): void {
  test("objects are found newest first, in the order of creation, regardless of later changes", async () => {
    const w = await world();
    const [a, b, c] = [w.object(), w.object(), w.object()];
    await w.create(a, b);
    const stored = await w.get(a.uniqueIdentifier);
    await w.create(c);
    await w.update(stored, { ...a, lastChange: 9 });
    const newest = [c, b, a].map(({ uniqueIdentifier }) => uniqueIdentifier);
    expect(await w.find()).toEqual(newest);
    expect(await w.find({ limit: 1 })).toEqual(newest);
  });

  test("a term finds the objects that have the value now", async () => {
    const w = await world();
    const group = (text: string, us: number) => [sampleRegister(groupItem(text), us)];
    const custom = customItem("Identifier", "vm-1");
    const a = w.object(group("g", 1));
    const b = w.object([...group("g", 1), sampleRegister(custom, 1, "x\0Identifier")]);
    await w.create(a, b, w.object(group("other", 1)));
    const term = termFor(groupItem("g")) ?? "";
    expect(await w.find({ term, limit: 1 })).toEqual([b.uniqueIdentifier, a.uniqueIdentifier]);
    expect(await w.find({ term: termFor(custom) ?? "" })).toEqual([b.uniqueIdentifier]);
    const stored = await w.get(b.uniqueIdentifier);
    await w.update(stored, { ...stored.object, registers: group("other", 2) });
    expect(await w.find({ term })).toEqual([a.uniqueIdentifier]);
    expect(await w.find({ term: termFor(custom) ?? "" })).toEqual([]);
    expect(await w.find({ term: termFor(groupItem("unknown")) ?? "" })).toEqual([]);
  });

  test("live objects, destroyed objects or both are found", async () => {
    const w = await world();
    const stored = await w.created(w.object());
    const { object: live } = await w.created(w.object());
    await w.update(stored, { ...stored.object, material: undefined, facts: destroyedFact });
    const gone = stored.object.uniqueIdentifier;
    expect(await w.find()).toEqual([live.uniqueIdentifier]);
    expect(await w.find({ live: false, destroyed: true })).toEqual([gone]);
    expect(await w.find({ destroyed: true, limit: 1 })).toEqual([live.uniqueIdentifier, gone]);
    expect(await w.find({ live: false })).toEqual([]);
  });

  test.each([1, 2, 3, 7])(
    "pages of %i have every object once even if others are created",
    async (limit) => {
      const w = await world();
      const objects = [0, 1, 2, 3, 4, 5].map(() => w.object());
      await w.create(...objects);
      const query = { live: true, destroyed: false, limit };
      const seen: string[] = [];
      let page = await w.store.find(w.instance, query);
      while (seen.length <= objects.length) {
        expect(page.objects.length).toBeLessThanOrEqual(limit);
        seen.push(...page.objects.map(({ object }) => object.uniqueIdentifier));
        if (page.next === undefined) break;
        await w.create(w.object());
        page = await w.store.find(w.instance, { ...query, after: page.next });
      }
      expect(seen).toEqual(objects.map(({ uniqueIdentifier }) => uniqueIdentifier).toReversed());
    },
  );

  test("large objects are all found, however few of them a page holds", async () => {
    const w = await world();
    const objects = Array.from({ length: 5 }, (_, at) =>
      w.object([sampleRegister(groupItem(String(at).repeat(200_000)), 1)]),
    );
    for (const object of objects) await w.create(object);
    expect(await w.find()).toEqual(
      objects.map(({ uniqueIdentifier }) => uniqueIdentifier).toReversed(),
    );
  });

  test("found objects carry the tag that an update needs", async () => {
    const w = await world();
    await w.created(w.object());
    const { objects } = await w.store.find(w.instance, { live: true, destroyed: false, limit: 9 });
    const [found] = objects;
    if (found === undefined) throw new Error("nothing found");
    expect(await w.update(found, { ...found.object, lastChange: 2 })).toMatchObject({
      kind: "committed",
    });
  });
}

function served(world: Make): void {
  test("an object is marked served once, by the tag that was read", async () => {
    const w = await world();
    const before = await w.created(w.named("n"));
    const after = { ...before.object, facts: { served: { time: 1_700_000_002, region: "a" } } };
    expect(await w.store.markServed(w.instance, before, after)).toBe(true);
    const stored = await w.get(before.object.uniqueIdentifier);
    expect(stored.object.facts.served).toEqual({ time: 1_700_000_002, region: "a" });
    expect(stored.tag).not.toBe(before.tag);
    expect(await w.store.markServed(w.instance, before, after)).toBe(false);
    expect((await w.update(before, { ...before.object, lastChange: 2 })).kind).toBe("conflict");
    expect(await w.find({ term: termFor(nameItem("n")) ?? "" })).toHaveLength(1);
  });

  test("marking an object that does not exist returns false, and makes nothing", async () => {
    const w = await world();
    const object = w.object();
    const before = { object, tag: tagOf(encodeRecord(object)) };
    const after = { ...object, facts: { served: { time: 1, region: "a" } } };
    expect(await w.store.markServed(w.instance, before, after)).toBe(false);
    expect(await w.maybe(object.uniqueIdentifier)).toBeUndefined();
  });
}

function evidence(world: Make): void {
  test("a change's events are kept as given, in order", async () => {
    const w = await world();
    const events = [
      { ...auditEvent("pending"), outcome: "pending" as const },
      { ...auditEvent("outcome"), outcome: "failure" as const, reason: 'ä " \n' },
    ];
    await w.store.commit(w.instance, [{ kind: "create", after: w.object() }], events);
    expect(await w.opened.auditOf(w.instance)).toEqual(events);
  });

  test("events without a change are kept", async () => {
    const w = await world();
    const { target: _, detail: __, ...bare } = auditEvent("refused");
    await w.store.appendAudit(w.instance, [bare, auditEvent("second")], true);
    expect(await w.audit()).toEqual(["refused", "second"]);
    expect((await w.opened.auditOf(w.instance))[0]).toEqual(bare);
    await w.store.appendAudit(w.instance, [auditEvent("batched")], false);
    await expect.poll(() => w.audit(), { timeout: 2_000 }).toContain("batched");
  });

  test("a commit of no changes keeps its events", async () => {
    const w = await world();
    expect(await w.store.commit(w.instance, [], [auditEvent("only")])).toMatchObject({
      kind: "committed",
    });
    expect(await w.audit()).toEqual(["only"]);
  });
}
