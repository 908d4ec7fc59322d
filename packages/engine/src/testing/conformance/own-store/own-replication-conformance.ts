import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { digestsOf, firstByteOf } from "../../../ports/digest.ts";
import { encodeRecord, tagOf } from "../../../record/record-codec.ts";
import { partitionCount, sysPartition, systemInstance } from "../../../system/partition.ts";
import { makeRecord } from "../../../system/system-record.ts";
import { groupItem, sampleRegister } from "../managed-object-conformance.ts";
import { destroyed, everyLeaf, idsOf, type OwnWorld } from "./own-world-conformance.ts";

type Make = () => Promise<OwnWorld>;

/** What another region pulls. */
export function changes(world: Make): void {
  test("a position has a number for every partition; a change raises its own", async () => {
    const w = await world();
    const before = await w.store.position();
    expect(before.numbers).toHaveLength(partitionCount + 1);
    await w.created();
    const after = await w.store.position();
    expect(after.replicationId).toBe(before.replicationId);
    expect(after.numbers[w.partition]).toBe((before.numbers[w.partition] ?? 0) + 1);
    const others = (numbers: readonly number[]) => numbers.filter((_, at) => at !== w.partition);
    expect(others(after.numbers)).toEqual(others(before.numbers));
  });

  test("changed records are returned in the order of their last change, each once", async () => {
    const w = await world();
    const before = await w.number();
    const [a, b, c] = [await w.created(), await w.created(), await w.created()];
    await w.update(a, { lastChange: 9 });
    const [page, ...more] = await w.pages(before);
    expect(more).toEqual([]);
    expect(page?.objects.map(({ uniqueIdentifier }) => uniqueIdentifier)).toEqual(
      [b, c, a].map(({ object }) => object.uniqueIdentifier),
    );
    expect(page?.objects.at(-1)?.lastChange).toBe(9);
    expect(page).toMatchObject({ upTo: before + 4, last: before + 4, damaged: [] });
    const { replicationId } = await w.store.position();
    expect(page?.replicationId).toBe(replicationId);
  });

  test("a commit that changes nothing is not a change; marking as served is one", async () => {
    const w = await world();
    const stored = await w.created();
    const before = await w.number();
    await w.update(stored, {});
    await w.create(stored.object);
    expect(await w.number()).toBe(before);
    const after = { ...stored.object, facts: { served: { time: 1, region: "a" } } };
    expect(await w.store.markServed(w.instance, stored, after)).toBe(true);
    expect(await w.number()).toBe(before + 1);
    expect(await w.changed(before)).toEqual(idsOf(stored));
  });

  test.each([1, 2, 3, 100])("pages of at most %i records are complete", async (limit) => {
    const w = await world();
    const before = await w.number();
    const made: string[] = [];
    for (let count = 0; count < 7; count += 1) made.push(...idsOf(await w.created()));
    const pages = await w.pages(before, limit);
    for (const { objects } of pages) expect(objects.length).toBeLessThanOrEqual(limit);
    expect(
      pages.flatMap(({ objects }) => objects.map((object) => object.uniqueIdentifier)),
    ).toEqual(made);
    expect(pages.length).toBe(Math.ceil(7 / limit));
  });

  test("a page ends at about its limit of bytes, after at least one record", async () => {
    const w = await world();
    const before = await w.number();
    const large = [sampleRegister(groupItem("g".repeat(100_000)), 1)];
    for (let count = 0; count < 3; count += 1) await w.created(w.object(large));
    expect(await w.pages(before, 100, 1)).toHaveLength(3);
    expect(await w.pages(before, 100, 150_000)).toHaveLength(2);
    expect(await w.pages(before, 100, 1 << 20)).toHaveLength(1);
  });

  test("nothing follows the last change, or a higher number of another store", async () => {
    const w = await world();
    await w.created();
    const last = await w.number();
    const page = await w.store.changes(w.partition, last, 10, 1_000);
    expect(page).toMatchObject({ objects: [], damaged: [], upTo: last, last });
    const beyond = await w.store.changes(w.partition, last + 100, 10, 1_000);
    expect(beyond).toMatchObject({ objects: [], last });
    expect(beyond.upTo).toBeGreaterThanOrEqual(last);
  });

  test("a destroyed record is returned without its material", async () => {
    const w = await world();
    const stored = await w.created();
    const before = await w.number();
    await w.update(stored, destroyed);
    const [page] = await w.pages(before);
    expect(page?.objects[0]?.facts.destroyed).toBeDefined();
    expect(page?.objects[0]?.material).toBeUndefined();
  });

  test("system records are returned like any other, and need no status", async () => {
    const w = await world();
    const before = (await w.store.position()).numbers[sysPartition] ?? 0;
    const region = { region: randomUUID(), generation: 1, retired: 0 };
    const after = makeRecord("Region", randomUUID(), region, { us: 1, region: "a" });
    const change = { kind: "create", after } as const;
    expect(await w.store.commit(systemInstance, [change], [])).toEqual({ kind: "committed" });
    const page = await w.store.changes(sysPartition, before, 100, 1 << 20);
    expect(page.objects.map(({ uniqueIdentifier }) => uniqueIdentifier)).toEqual(idsOf(after));
    expect((await w.store.read(systemInstance, idsOf(after)))[0]?.object).toEqual(after);
    expect(await w.store.reserve(systemInstance, idsOf(after), "one")).toEqual({
      kind: "reserved",
    });
    expect(await w.store.release(systemInstance, "one")).toBe(1);
  });

  test("changes that are made at the same time are all returned", async () => {
    const w = await world();
    const before = await w.number();
    const made = Array.from({ length: 20 }, () => w.object());
    await Promise.all(made.map((object) => w.create(object)));
    expect([...(await w.changed(before))].toSorted()).toEqual(idsOf(...made));
  });
}

/** How two copies are compared. */
export function digests(world: Make): void {
  test("digests are those of the leaves, regardless of the records' history", async () => {
    const w = await world();
    const stored = await Promise.all(Array.from({ length: 12 }, () => w.created()));
    const [a, b, c, d] = stored;
    if (!(a && b && c && d)) throw new Error("not made");
    await w.update(a, { lastChange: 2 });
    await w.update(b, destroyed);
    const served = { ...c.object, facts: { served: { time: 1, region: "a" } } };
    await w.store.markServed(w.instance, c, served);
    await w.reserve(idsOf(d), "one");
    await w.update(d, { lastChange: 3 }, { operation: "one" });
    await w.created(w.object(), { joined: true });
    const leaves = await w.leaves();
    expect(new Set(leaves.map(({ uniqueIdentifier }) => uniqueIdentifier)).size).toBe(
      leaves.length,
    );
    const found = [...(await w.found()), ...(await w.found({ live: false, destroyed: true }))];
    expect(found).toHaveLength(13);
    const tags = new Map(leaves.map(({ uniqueIdentifier, tag }) => [uniqueIdentifier, tag]));
    for (const { object, tag } of found) expect(tags.get(object.uniqueIdentifier)).toBe(tag);
    const whole = await w.store.digests(w.partition);
    expect(whole).toHaveLength(256 * 16);
    expect(Buffer.from(whole).equals(Buffer.from(digestsOf(leaves)))).toBe(true);
  });

  test("a record with its former content again has its former digest again", async () => {
    const w = await world();
    const stored = await w.created();
    const before = await w.store.digests(w.partition);
    await w.update(stored, { lastChange: 2 });
    expect(await w.store.digests(w.partition)).not.toEqual(before);
    const now = await w.get(stored.object.uniqueIdentifier);
    await w.update(now, { lastChange: stored.object.lastChange });
    expect(await w.store.digests(w.partition)).toEqual(before);
  });

  test("a mask asks for the leaves of some first bytes", async () => {
    const w = await world();
    const stored = await Promise.all(Array.from({ length: 16 }, () => w.created()));
    const [first] = stored;
    const byte = firstByteOf(first?.object.uniqueIdentifier ?? "");
    const mask = new Uint8Array(32);
    mask[byte >> 3] = 1 << (byte & 7);
    const leaves = await w.leaves(mask);
    const all = await w.leaves();
    expect(leaves).toEqual(
      all.filter(({ uniqueIdentifier }) => firstByteOf(uniqueIdentifier) === byte),
    );
    expect(leaves.length).toBeGreaterThan(0);
    expect(await w.leaves(new Uint8Array(32))).toEqual([]);
  });

  test("leaves begin after a change number", async () => {
    const w = await world();
    await w.created();
    const before = await w.number();
    const later = await w.created();
    const page = await w.store.leaves(w.partition, everyLeaf, before);
    expect(page.leaves).toEqual([
      { uniqueIdentifier: later.object.uniqueIdentifier, tag: later.tag },
    ]);
    expect(page.next).toBeUndefined();
    expect(page.replicationId).toBe((await w.store.position()).replicationId);
  });

  test("records are returned by identifier, whatever instance they belong to", async () => {
    const w = await world();
    const n = await w.neighbour();
    const [a, b] = [await w.created(), await n.created()];
    const asked = [randomUUID(), ...idsOf(b, a)];
    const { objects, damaged } = await w.store.records(w.partition, asked);
    expect(damaged).toEqual([]);
    expect(idsOf(...objects)).toEqual(idsOf(a, b));
    for (const object of objects) {
      expect([a.tag, b.tag]).toContain(tagOf(encodeRecord(object)));
    }
    expect(await w.store.records(w.partition, [])).toEqual({
      objects: [],
      damaged: [],
      unknown: [],
    });
  });

  test("records are returned for as many identifiers as a page of leaves has, and at most a thousand", async () => {
    const w = await world();
    const stored = await Promise.all(Array.from({ length: 150 }, () => w.created()));
    const { objects } = await w.store.records(w.partition, idsOf(...stored));
    expect(idsOf(...objects)).toEqual(idsOf(...stored));
    const many = Array.from({ length: 1_001 }, () => randomUUID());
    await expect(w.store.records(w.partition, many)).rejects.toThrow(RangeError);
  });
}
