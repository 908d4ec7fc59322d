import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { digestsOf } from "../../../ports/digest.ts";
import type { ManagedObject } from "../../../record/record.ts";
import { termFor } from "../../../system/index-terms.ts";
import { sysPartition } from "../../../system/partition.ts";
import { nameItem, sampleRegister } from "../managed-object-conformance.ts";
import { destroyed, failureOf, idsOf, type OwnWorld } from "./own-world-conformance.ts";

type Make = () => Promise<OwnWorld>;

/** What a leader keeps in the store, and how an old one is kept out. */
export function leading(world: Make): void {
  test("an epoch is never given twice", async () => {
    const { store } = await world();
    const epochs = await Promise.all(Array.from({ length: 20 }, () => store.newEpoch()));
    expect(new Set(epochs).size).toBe(20);
    expect(await store.newEpoch()).toBeGreaterThan(Math.max(...epochs));
  });

  test("a cursor is kept by partition and region", async () => {
    const w = await world();
    const [peer, other] = [randomUUID(), randomUUID()];
    const epoch = await w.store.newEpoch();
    expect(await w.store.cursor(w.partition, peer)).toBeUndefined();
    const cursor = { replicationId: "a store of 1 process", number: 2 ** 40 };
    await w.store.setCursor(w.partition, peer, cursor, epoch);
    await w.store.setCursor(sysPartition, peer, { replicationId: "", number: 0 }, epoch);
    expect(await w.store.cursor(w.partition, peer)).toEqual(cursor);
    expect(await w.store.cursor(sysPartition, peer)).toEqual({ replicationId: "", number: 0 });
    expect(await w.store.cursor(w.partition, other)).toBeUndefined();
    await w.store.setCursor(w.partition, peer, { ...cursor, number: 3 }, epoch);
    expect((await w.store.cursor(w.partition, peer))?.number).toBe(3);
  });

  test("a cursor is not a change", async () => {
    const w = await world();
    const before = await w.store.position();
    const epoch = await w.store.newEpoch();
    await w.store.setCursor(w.partition, "b", { replicationId: "x", number: 1 }, epoch);
    await w.store.requestResync();
    expect(await w.store.position()).toEqual(before);
  });

  test("a leader of an older epoch writes nothing", async () => {
    const w = await world();
    const peer = randomUUID();
    const old = await w.store.newEpoch();
    await w.store.setCursor(w.partition, peer, { replicationId: "x", number: 1 }, old);
    const asked = await w.store.requestResync();
    await w.store.newEpoch();
    const later = { replicationId: "x", number: 2 };
    expect(await failureOf(w.store.setCursor(w.partition, peer, later, old))).toBe("deposed");
    expect(await failureOf(w.store.setLevel(asked, old))).toBe("deposed");
    expect((await w.store.cursor(w.partition, peer))?.number).toBe(1);
    expect((await w.store.levels()).reached).toBeLessThan(asked);
  });

  test("an epoch that the store sees for the first time keeps older ones out", async () => {
    const w = await world();
    const own = await w.store.newEpoch();
    const cursor = { replicationId: "x", number: 1 };
    await w.store.setCursor(w.partition, "b", cursor, own + 5);
    expect(await failureOf(w.store.setCursor(w.partition, "b", cursor, own))).toBe("deposed");
    expect(await w.store.newEpoch()).toBeGreaterThan(own + 5);
  });

  test("requested resyncs are counted, and so are completed ones", async () => {
    const { store } = await world();
    const epoch = await store.newEpoch();
    const requests = await Promise.all([
      store.requestResync(),
      store.requestResync(),
      store.requestResync(),
    ]);
    expect(new Set(requests).size).toBe(3);
    const asked = Math.max(...requests);
    expect((await store.levels()).asked).toBe(asked);
    expect((await store.levels()).reached).toBeLessThan(asked);
    await store.setLevel(asked - 1, epoch);
    expect(await store.levels()).toMatchObject({ asked, reached: asked - 1 });
    await store.setLevel(asked, epoch);
    await store.setLevel(asked - 2, epoch);
    expect(await store.levels()).toMatchObject({ asked, reached: asked });
    expect(await store.requestResync()).toBe(asked + 1);
  });

  test("losing the level requests a resync, which is completed like any other", async () => {
    const { store } = await world();
    const epoch = await store.newEpoch();
    const asked = await store.requestResync();
    await store.setLevel(asked, epoch);
    await store.loseLevel();
    const lost = asked + 1;
    expect(await store.levels()).toEqual({ asked: lost, reached: asked, lost });
    expect(await store.requestResync()).toBe(lost + 1);
    await store.setLevel(lost, epoch);
    expect(await store.levels()).toEqual({ asked: lost + 1, reached: lost, lost });
  });
}

/** Records that do not decode. */
export function damaged(world: Make): void {
  test("a damaged record is reported as damaged, and never as missing", async () => {
    const w = await world();
    const before = await w.number();
    const [bad, good] = [await w.created(), await w.created()];
    const { uniqueIdentifier } = bad.object;
    await w.opened.damage(w.instance, uniqueIdentifier);
    expect(await failureOf(w.maybe(uniqueIdentifier))).toBe("corrupt");
    const [page] = await w.pages(before);
    expect(page?.damaged).toEqual([uniqueIdentifier]);
    expect(idsOf(...(page?.objects ?? []))).toEqual(idsOf(good));
    expect(page?.upTo).toBe(page?.last);
    const answer = await w.store.records(w.partition, idsOf(bad, good));
    expect(answer.damaged).toEqual([uniqueIdentifier]);
    expect(idsOf(...answer.objects)).toEqual(idsOf(good));
    expect(await w.leaves()).toContainEqual({ uniqueIdentifier, tag: bad.tag });
  });

  test("pages skip damaged records, however small the pages are", async () => {
    const w = await world();
    const before = await w.number();
    const stored = [await w.created(), await w.created(), await w.created(), await w.created()];
    for (const { object } of stored.slice(0, 3)) {
      await w.opened.damage(w.instance, object.uniqueIdentifier);
    }
    const pages = await w.pages(before, 1);
    expect(pages.flatMap((page) => page.damaged)).toHaveLength(3);
    expect(idsOf(...pages.flatMap((page) => page.objects))).toEqual(idsOf(...stored.slice(3)));
  });

  test("a damaged record's bytes go into quarantine once, and the record stays damaged", async () => {
    const w = await world();
    const { uniqueIdentifier } = (await w.created()).object;
    await w.opened.damage(w.instance, uniqueIdentifier);
    const before = await w.store.quarantined();
    await w.store.quarantine(w.instance, uniqueIdentifier, "does not decode", {});
    await w.store.quarantine(w.instance, uniqueIdentifier, "does not decode", {});
    expect(await w.store.quarantined()).toBe(before + 1);
    expect(await failureOf(w.maybe(uniqueIdentifier))).toBe("corrupt");
  });

  test("a damaged record fails a search, unless it is to be listed; then it says whether the term led to it", async () => {
    const w = await world();
    const [bad, fine] = [await w.created(w.named("bad")), await w.created(w.named("fine"))];
    const { uniqueIdentifier } = bad.object;
    await w.opened.damage(w.instance, uniqueIdentifier);
    const term = (name: string) => ({ term: termFor(nameItem(name)) ?? "" });
    const walk = { live: true, destroyed: false, limit: 10 };
    for (const query of [walk, { ...walk, ...term("bad") }]) {
      expect(await failureOf(w.store.find(w.instance, query))).toBe("corrupt");
    }
    const listing = { ...walk, listDamaged: true };
    const ids = [uniqueIdentifier];
    const all = await w.store.find(w.instance, listing);
    expect(idsOf(...all.objects)).toEqual(idsOf(fine));
    expect(all.damaged).toEqual({ ids, byTerm: false });
    expect(await w.store.find(w.instance, { ...listing, ...term("bad") })).toEqual({
      objects: [],
      damaged: { ids, byTerm: true },
    });
    const other = await w.store.find(w.instance, { ...listing, ...term("fine") });
    expect(idsOf(...other.objects)).toEqual(idsOf(fine));
    expect(other.damaged).toBeUndefined();
    const first = await w.store.find(w.instance, { ...listing, limit: 1 });
    expect(first.damaged).toBeUndefined();
    const { next: after = "" } = first;
    expect((await w.store.find(w.instance, { ...listing, limit: 1, after })).damaged?.ids).toEqual(
      ids,
    );
  });

  test("another region's copy is set aside, and the region's own record is unchanged", async () => {
    const w = await world();
    const stored = await w.created();
    const { uniqueIdentifier } = stored.object;
    const before = await w.store.quarantined();
    const copy = Uint8Array.of(1, 2, 3);
    await w.store.quarantine(w.instance, uniqueIdentifier, "another material", { copy });
    expect(await w.store.quarantined()).toBe(before + 1);
    expect((await w.get(uniqueIdentifier)).tag).toBe(stored.tag);
  });

  test("an intact copy replaces a damaged record, in every index", async () => {
    const w = await world();
    const start = await w.number();
    const [bad, other] = [await w.created(w.named("old")), await w.created()];
    const { uniqueIdentifier } = bad.object;
    const registers = [sampleRegister(nameItem("new"), 2)];
    const replacement = { ...bad.object, registers, lastChange: 5 };
    await w.opened.damage(w.instance, uniqueIdentifier);
    const before = await w.store.quarantined();
    await w.store.quarantine(w.instance, uniqueIdentifier, "does not decode", { replacement });
    expect(await w.store.quarantined()).toBe(before + 1);
    const now = await w.get(uniqueIdentifier);
    expect(now.object.lastChange).toBe(5);
    expect(await w.changed(start)).toEqual(
      [other, now].map(({ object }) => object.uniqueIdentifier),
    );
    const leaves = await w.leaves();
    expect(leaves.filter((leaf) => leaf.uniqueIdentifier === uniqueIdentifier)).toEqual([
      { uniqueIdentifier, tag: now.tag },
    ]);
    const whole = await w.store.digests(w.partition);
    expect(Buffer.from(whole).equals(Buffer.from(digestsOf(leaves)))).toBe(true);
    const found = await w.found({ term: termFor(nameItem("new")) ?? "" });
    expect(idsOf(...found)).toEqual([uniqueIdentifier]);
    expect(await w.found()).toHaveLength(2);
    expect(await w.found({ term: termFor(nameItem("old")) ?? "" })).toEqual([]);
    expect(await w.create(w.named("old"))).toEqual({ kind: "committed" });
    expect((await w.create(w.named("new"))).kind).toBe("nameTaken");
    expect(await w.update(now, { lastChange: 6 })).toEqual({ kind: "committed" });
  });

  test("a destroyed copy replaces a damaged record, among the destroyed ones", async () => {
    const w = await world();
    const bad = await w.created(w.named("n"));
    const { uniqueIdentifier } = bad.object;
    await w.opened.damage(w.instance, uniqueIdentifier);
    const replacement = { ...bad.object, ...destroyed };
    await w.store.quarantine(w.instance, uniqueIdentifier, "does not decode", { replacement });
    expect(await w.found()).toEqual([]);
    const query = { live: false, destroyed: true, term: termFor(nameItem("n")) ?? "" };
    expect(idsOf(...(await w.found(query)))).toEqual([uniqueIdentifier]);
    expect(await w.create(w.named("n"))).toEqual({ kind: "committed" });
  });

  test("an intact record is not replaced, since somebody was faster", async () => {
    const w = await world();
    const stored = await w.created();
    const { uniqueIdentifier } = stored.object;
    const before = await w.store.quarantined();
    const replacement = { ...stored.object, lastChange: 5 };
    await w.store.quarantine(w.instance, uniqueIdentifier, "late", { replacement });
    expect((await w.get(uniqueIdentifier)).tag).toBe(stored.tag);
    expect(await w.store.quarantined()).toBe(before);
  });

  test("a reservation outlasts the repair", async () => {
    const w = await world();
    const bad = await w.created();
    const { uniqueIdentifier } = bad.object;
    await w.reserve([uniqueIdentifier], "one");
    await w.opened.damage(w.instance, uniqueIdentifier);
    const replacement = { ...bad.object, lastChange: 5 };
    await w.store.quarantine(w.instance, uniqueIdentifier, "does not decode", { replacement });
    const now = await w.get(uniqueIdentifier);
    expect(now.reserved).toBe("one");
    expect((await w.update(now, { lastChange: 6 })).kind).toBe("reserved");
    expect(await w.update(now, destroyed, { operation: "one" })).toEqual({ kind: "committed" });
  });

  test("only a copy that has its last state replaces a damaged record", async () => {
    const w = await world();
    const bad = await w.created();
    const { uniqueIdentifier } = bad.object;
    const time = 1_700_000_000;
    const facts = { activated: { time, region: "a" }, deactivated: { time, region: "a" } };
    await w.update(bad, { facts });
    await w.opened.damage(w.instance, uniqueIdentifier);
    const put = (replacement: ManagedObject): Promise<void> =>
      w.store.quarantine(w.instance, uniqueIdentifier, "does not decode", { replacement });
    const older = { ...bad.object, facts: { activated: facts.activated } };
    expect(await failureOf(put(bad.object))).toBe("corrupt");
    expect(await failureOf(put(older))).toBe("corrupt");
    expect(await failureOf(w.maybe(uniqueIdentifier))).toBe("corrupt");
    const elsewhere = { ...older.facts, deactivated: { time: time + 9, region: "b" } };
    await put({ ...older, facts: elsewhere });
    expect((await w.get(uniqueIdentifier)).object.facts).toEqual(elsewhere);
  });

  test("an intact record of a newer format is neither damaged nor replaced", async (context) => {
    const w = await world();
    const { upgrade } = w.opened;
    if (upgrade === undefined) return context.skip("this store keeps no bytes");
    const before = await w.number();
    const [newer, other] = [await w.created(), await w.created()];
    const { uniqueIdentifier } = newer.object;
    await upgrade(w.instance, uniqueIdentifier);
    expect(await failureOf(w.maybe(uniqueIdentifier))).toBe("unknownFormat");
    const [page] = await w.pages(before);
    expect(page).toMatchObject({ unknown: [uniqueIdentifier], damaged: [] });
    const answer = await w.store.records(w.partition, idsOf(newer, other));
    expect(answer).toMatchObject({ unknown: [uniqueIdentifier], damaged: [] });
    expect(idsOf(...answer.objects)).toEqual(idsOf(other));
    const aside = await w.store.quarantined();
    const replaced = w.store.quarantine(w.instance, uniqueIdentifier, "does not decode", {
      replacement: { ...newer.object, lastChange: 5 },
    });
    expect(await failureOf(replaced)).toBe("unknownFormat");
    expect(await failureOf(w.maybe(uniqueIdentifier))).toBe("unknownFormat");
    expect(await w.store.quarantined()).toBe(aside);
  });
}
