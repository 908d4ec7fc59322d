import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { restorableTerm, termFor } from "../../../system/index-terms.ts";
import { nameItem, sampleRegister } from "../managed-object-conformance.ts";
import { destroyed, idsOf, OwnWorld } from "./own-world-conformance.ts";

type Make = () => Promise<OwnWorld>;

const joined = { joined: true } as const;

/** Joins with another region's copies. */
export function joins(world: Make): void {
  test("a join may leave two live objects with one name; both are found, newest first", async () => {
    const w = await world();
    const [first, second] = [w.named("n"), w.named("n")];
    await w.created(first);
    await w.created(second, joined);
    const term = termFor(nameItem("n")) ?? "";
    const found = await w.found({ term });
    expect(found.map(({ object }) => object.uniqueIdentifier)).toEqual([
      second.uniqueIdentifier,
      first.uniqueIdentifier,
    ]);
    expect((await w.create(w.named("n"))).kind).toBe("nameTaken");
  });

  test("an update may join a name that another has", async () => {
    const w = await world();
    await w.created(w.named("n"));
    const other = await w.created(w.named("m"));
    const registers = [sampleRegister(nameItem("n"), 2)];
    expect(await w.update(other, { registers }, joined)).toEqual({ kind: "committed" });
    expect(await w.found({ term: termFor(nameItem("n")) ?? "" })).toHaveLength(2);
    expect(await w.create(w.named("m"))).toEqual({ kind: "committed" });
  });

  test("both keep the name through changes of their own, alone and in one commit", async () => {
    const w = await world();
    const first = await w.created(w.named("n"));
    const second = await w.created(w.named("n"), joined);
    expect(await w.update(first, { lastChange: 2 })).toEqual({ kind: "committed" });
    expect(await w.update(second, { lastChange: 2 })).toEqual({ kind: "committed" });
    const [a, b] = [await w.get(idsOf(first)[0] ?? ""), await w.get(idsOf(second)[0] ?? "")];
    const both = [a, b].map((before) => {
      return { kind: "update", before, after: { ...before.object, lastChange: 3 } } as const;
    });
    expect(await w.commit(both)).toEqual({ kind: "committed" });
    expect((await w.commit([{ kind: "create", after: w.named("n") }])).kind).toBe("nameTaken");
  });

  test("a name that two hold is free when both are destroyed", async () => {
    const w = await world();
    const first = await w.created(w.named("n"));
    const second = await w.created(w.named("n"), joined);
    await w.update(first, destroyed);
    expect((await w.create(w.named("n"))).kind).toBe("nameTaken");
    await w.update(second, destroyed);
    expect(await w.create(w.named("n"))).toEqual({ kind: "committed" });
  });

  test("the tag decides, as in every commit", async () => {
    const w = await world();
    const stored = await w.created();
    const { uniqueIdentifier } = stored.object;
    const conflict = { kind: "conflict", uniqueIdentifier };
    expect(await w.create({ ...stored.object, lastChange: 1 }, joined)).toEqual(conflict);
    await w.update(stored, { lastChange: 2 });
    expect(await w.update(stored, { lastChange: 3 }, joined)).toEqual(conflict);
  });

  test("a join that keeps the tag is committed and changes nothing", async () => {
    const w = await world();
    const stored = await w.created();
    const before = await w.number();
    expect(await w.update(stored, {}, joined)).toEqual({ kind: "committed" });
    expect(await w.number()).toBe(before);
  });

  test.each([undefined, "Installing", "Inactive", "Configuring", "Removing"] as const)(
    "an instance whose status is %s takes joins and nothing else",
    async (status) => {
      const { opened } = await world();
      const w = new OwnWorld(opened);
      if (status !== undefined) await opened.setStatus(w.instance, status);
      expect(await w.create(w.object())).toEqual({ kind: "instanceClosed" });
      const stored = await w.created(w.object(), joined);
      expect(await w.update(stored, { lastChange: 2 }, joined)).toEqual({ kind: "committed" });
      expect(await w.update(stored, { lastChange: 3 })).toEqual({ kind: "instanceClosed" });
    },
  );

  test("a deleted instance takes no joins either, except of objects that are destroyed for good", async () => {
    const w = await world();
    const stored = await w.created();
    await w.opened.setStatus(w.instance, "Deleted");
    expect(await w.create(w.object(), joined)).toEqual({ kind: "instanceClosed" });
    expect(await w.update(stored, { lastChange: 2 }, joined)).toEqual({ kind: "instanceClosed" });
    const at = { time: 1_700_000_001, region: "a", until: 1_700_000_009, us: 1 } as const;
    const pending = { facts: { destruction: { ...at, state: "pending" } } } as const;
    expect(await w.update(stored, pending, joined)).toEqual({ kind: "instanceClosed" });
    const gone = { ...w.object(), ...destroyed };
    expect(await w.create(gone)).toEqual({ kind: "instanceClosed" });
    const mixed = [gone, w.object()].map((after) => ({ kind: "create", after }) as const);
    expect(await w.commit(mixed, joined)).toEqual({ kind: "instanceClosed" });
    expect(await w.create(gone, joined)).toEqual({ kind: "committed" });
    expect(await w.update(stored, destroyed, joined)).toEqual({ kind: "committed" });
    expect(await w.found({ live: true, destroyed: false })).toEqual([]);
  });

  test("an instance's status changes only from an expected one, and never from Deleted", async () => {
    const { opened, instance } = await world();
    const { instances } = opened;
    expect(await instances.move(instance, [undefined, "Removing"], "Inactive")).toBe("Installed");
    expect(await instances.move(instance, ["Installed"], "Removing")).toBe("Removing");
    expect(await instances.status(instance)).toBe("Removing");
    expect(await instances.move(instance, ["Removing"], "Deleted")).toBe("Deleted");
    expect(await instances.move(instance, ["Deleted", undefined], "Installed")).toBe("Deleted");
    const other = new OwnWorld(opened);
    expect(await instances.move(other.instance, ["Installed"], "Removing")).toBeUndefined();
    expect(await instances.move(other.instance, [undefined], "Inactive")).toBe("Inactive");
    expect(await instances.install(other.instance)).toBe("Inactive");
  });

  test("copies of destroyed objects are joined as they are", async () => {
    const w = await world();
    const gone = { ...w.named("n"), ...destroyed };
    const stored = await w.created(gone, joined);
    expect(stored.object.material).toBeUndefined();
    expect(await w.create(w.named("n"))).toEqual({ kind: "committed" });
    expect(await w.found({ live: false, destroyed: true })).toHaveLength(1);
  });

  test("an object that is destroyed with a delay moves to the destroyed ones, and back; its name is free meanwhile", async () => {
    const w = await world();
    const at = { time: 1_700_000_001, region: "a", until: 1_700_000_009, us: 1 } as const;
    const pending = { facts: { destruction: { ...at, state: "pending" } } } as const;
    const back = { facts: { destruction: { ...at, state: "restored", us: 2 } } } as const;
    const change = async (facts: typeof pending | typeof back) => {
      const stored = await w.get(object.uniqueIdentifier);
      return await w.update(stored, facts);
    };
    const object = w.named("n");
    await w.created(object);
    expect(await change(pending)).toEqual({ kind: "committed" });
    expect(await w.found({ live: true, destroyed: false })).toEqual([]);
    const restorable = { live: false, destroyed: true, term: restorableTerm };
    const [found] = await w.found(restorable);
    expect(found?.object.material).toEqual(object.material);
    const other = w.named("n");
    await w.created(other);
    expect((await change(back)).kind).toBe("nameTaken");
    const stored = await w.get(other.uniqueIdentifier);
    expect(await w.update(stored, destroyed)).toEqual({ kind: "committed" });
    expect(await change(back)).toEqual({ kind: "committed" });
    expect(await w.found(restorable)).toEqual([]);
    expect(await w.found({ live: true, destroyed: false })).toHaveLength(1);
    expect((await w.create(w.named("n"))).kind).toBe("nameTaken");
  });
}

/** When the push to the other region may begin. */
export function written(world: Make): void {
  test("is called once, when the change is written and before it is durable", async () => {
    const w = await world();
    const after = w.object();
    const order: string[] = [];
    let read: Promise<unknown> = Promise.resolve();
    const outcome = await w.create(after, {
      written: () => {
        order.push("written");
        read = w.get(after.uniqueIdentifier).then(({ object }) => object.uniqueIdentifier);
      },
    });
    order.push(outcome.kind);
    expect(order).toEqual(["written", "committed"]);
    expect(await read).toBe(after.uniqueIdentifier);
  });

  test("is called once for several changes, and for one that changes nothing", async () => {
    const w = await world();
    let calls = 0;
    const count = {
      written: () => {
        calls += 1;
      },
    };
    await w.commit(
      [
        { kind: "create", after: w.object() },
        { kind: "create", after: w.object() },
      ],
      count,
    );
    expect(calls).toBe(1);
    const stored = await w.created();
    await w.update(stored, {}, count);
    expect(calls).toBe(2);
  });

  test("is not called for what is refused", async () => {
    const w = await world();
    const stored = await w.created(w.named("n"));
    let calls = 0;
    const count = {
      written: () => {
        calls += 1;
      },
    };
    await w.create({ ...stored.object, lastChange: 3 }, count);
    await w.create(w.named("n"), count);
    await w.reserve(idsOf(stored), "operation");
    await w.update(stored, { lastChange: 4 }, count);
    await w.update(stored, { lastChange: 4 }, { ...count, operation: randomUUID() });
    expect(calls).toBe(0);
  });
}
