import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { StoredObject } from "../../../ports/objects.ts";
import { systemInstance } from "../../../system/partition.ts";
import { makeRecord } from "../../../system/system-record.ts";
import { failureOf, idsOf, type OwnWorld } from "./own-world-conformance.ts";

type Make = () => Promise<OwnWorld>;

/** A system record that changes depend on, at two times. */
async function twice({ store }: OwnWorld): Promise<readonly [StoredObject, StoredObject]> {
  const after = makeRecord(
    "Setting",
    randomUUID(),
    { kind: "k", region: "a", node: "a1" },
    { us: 0, region: "a" },
  );
  const read = async (): Promise<StoredObject> => {
    const [stored] = await store.read(systemInstance, [after.uniqueIdentifier]);
    if (stored === undefined) throw new Error("a system record does not exist");
    return stored;
  };
  await store.commit(systemInstance, [{ kind: "create", after }], []);
  const before = await read();
  const changed = { ...after, lastChange: 1 };
  await store.commit(systemInstance, [{ kind: "update", before, after: changed }], []);
  return [before, await read()];
}

function given({ object, tag }: StoredObject) {
  return [{ uniqueIdentifier: object.uniqueIdentifier, tag }];
}

/** Changes that depend on system records: a node that was paused changes nothing by outdated knowledge. */
export function resting(world: Make): void {
  test("a change is made while the record that it depends on is unchanged, and refused afterwards", async () => {
    const w = await world();
    const [old, now] = await twice(w);
    const made = await w.created(w.object(), { given: given(now) });
    const late = w.update(made, { lastChange: 7 }, { given: given(old) });
    expect(await failureOf(late)).toBe("superseded");
    expect((await w.get(made.object.uniqueIdentifier)).tag).toBe(made.tag);
    const creation = w.object();
    expect(await failureOf(w.create(creation, { given: given(old) }))).toBe("superseded");
    expect(await w.maybe(creation.uniqueIdentifier)).toBeUndefined();
    expect(await w.update(made, { lastChange: 8 }, { given: given(now) })).toEqual({
      kind: "committed",
    });
  });

  test("a change may depend on a record that does not exist, until that is made", async () => {
    const w = await world();
    const [, now] = await twice(w);
    const absent = { uniqueIdentifier: randomUUID(), tag: "" } as const;
    const made = await w.created(w.object(), { given: [absent, ...given(now)] });
    const none = given({ ...now, tag: "" });
    expect(await failureOf(w.update(made, { lastChange: 7 }, { given: none }))).toBe("superseded");
  });

  test("a reservation, and a write under one, may depend on a record too", async () => {
    const w = await world();
    const [old, now] = await twice(w);
    const made = await w.created();
    const reserve = (one: StoredObject) =>
      w.store.reserve(w.instance, idsOf(made), "one", given(one));
    expect(await failureOf(reserve(old))).toBe("superseded");
    expect(await w.heldBy("one")).toEqual([]);
    expect(await reserve(now)).toEqual({ kind: "reserved" });
    const write = (one: StoredObject) =>
      w.update(made, { lastChange: 7 }, { operation: "one", given: given(one) });
    expect(await failureOf(write(old))).toBe("superseded");
    expect(await w.heldBy("one")).toEqual(idsOf(made));
    expect(await write(now)).toEqual({ kind: "committed" });
  });
}
