import { KeyRingUnavailable, type ManagedObject, type SealedMaterial } from "@holdfast/engine";
import { beforeEach, describe, expect, test } from "vitest";
import {
  adding,
  get,
  instance,
  must,
  newKey,
  put,
  regionsWithInstance,
} from "../testing/test-keys.ts";
import { copyOf, type TestRegion, type TestRegions } from "../testing/test-regions.ts";
import { mergeInto } from "./merge.ts";

const sealed = (byte: number): SealedMaterial => ({
  kekId: "0f8fad5b-d9cb-469f-a165-70867728950e",
  nonce: new Uint8Array(12),
  ciphertext: new Uint8Array(32).fill(byte),
});
const [sound, broken, broken2] = [sealed(1), sealed(2), sealed(3)];
let closed = false;
/** What AES-GCM would say. */
const opens = async ({ facts, material }: ManagedObject): Promise<boolean> => {
  if (closed) throw new KeyRingUnavailable(false, "closed");
  return facts.destroyed !== undefined || material?.ciphertext[0] === 1;
};
/** Two copies that both open hold something else. */
const seals = { opens, newer: async () => undefined, releases: async () => false };
const activated = { time: 8, region: "a" };

let regions: TestRegions;
beforeEach(async () => {
  closed = false;
  regions = await regionsWithInstance({ seals });
});

/** A key with this material in each region. */
async function keyWith(inA: SealedMaterial, inB: SealedMaterial): Promise<ManagedObject> {
  const key = newKey(regions, { material: inA });
  await put(regions.a, key);
  await put(regions.b, { ...key, material: inB });
  return key;
}

async function healed({ store }: TestRegion, key: ManagedObject) {
  const found = await must(store, key);
  return (await regions.time.until(store.heal(instance, found, opens)))?.object;
}

describe("a copy whose seal is broken", () => {
  test("is put aside and replaced by the other region's copy, joined with the facts of both", async () => {
    const { a, b } = regions;
    const key = await keyWith(broken, sound);
    const before = await must(a.own, key);
    await a.own.commit(instance, [adding(before, "activated", activated)], []);
    const there = await must(b.own, key);
    await b.own.commit(instance, [adding(there, "served", { time: 9, region: "b" })], []);
    const facts = { activated, served: { time: 9, region: "b" } };
    expect(await healed(a, key)).toMatchObject({ facts, material: sound });
    expect(await copyOf(a, key)).toMatchObject({ facts, material: sound });
    expect(await a.own.quarantined()).toBe(1);
  });

  test("is not replaced by a copy that does not open either, or that cannot be reached", async () => {
    const { a, b, link, time } = regions;
    const key = await keyWith(broken, broken2);
    expect(await healed(a, key)).toBeUndefined();
    expect(await healed(b, key)).toBeUndefined();
    const other = await keyWith(broken, sound);
    const found = await must(a.own, other);
    link.open = false;
    expect(await time.until(a.store.heal(instance, found, opens))).toBeUndefined();
    for (const region of [a, b]) expect(await region.own.quarantined()).toBe(0);
    expect((await copyOf(a, key))?.material).toEqual(broken);
    expect((await copyOf(a, other))?.material).toEqual(broken);
  });

  test("is never replaced by a copy that differs in a part that is not sealed", async () => {
    const { a } = regions;
    const key = newKey(regions, { material: broken });
    await put(a, key);
    await put(regions.b, { ...key, material: sound, objectType: key.objectType + 1 });
    expect(await healed(a, key)).toBeUndefined();
    expect((await copyOf(a, key))?.material).toEqual(broken);
  });

  test("is destroyed where the other region's copy is destroyed", async () => {
    const { a, b } = regions;
    const key = await keyWith(broken, sound);
    await b.own.commit(instance, [adding(await must(b.own, key), "destroyed", activated)], []);
    expect(await healed(a, key)).toMatchObject({ material: undefined });
    expect(await copyOf(a, key)).toMatchObject({ facts: { destroyed: activated } });
  });

  test("is healed in the answer, but not replaced, while the own store takes no writes or another writer was faster", async () => {
    const { a } = regions;
    const key = await keyWith(broken, sound);
    const commit = a.own.commit.bind(a.own);
    a.own.commit = async () => ({ kind: "conflict", uniqueIdentifier: key.uniqueIdentifier });
    expect(await healed(a, key)).toMatchObject({ material: sound });
    expect((await copyOf(a, key))?.material).toEqual(broken);
    a.own.commit = commit;
    expect(await healed(a, key)).toMatchObject({ material: sound });
    expect((await copyOf(a, key))?.material).toEqual(sound);
  });

  test("that came from the region that serves this one's clients is healed in the answer from the own copy", async () => {
    const { a, b, time } = regions;
    const key = await keyWith(sound, broken);
    a.own.setState("none");
    a.own.setState("full");
    await time.pass(200);
    expect(a.store.serving().from).toBe("remote");
    const found = await time.until(get(a.store, key));
    expect(found?.object.material).toEqual(broken);
    if (found === undefined) throw new Error("not found");
    const object = (await time.until(a.store.heal(instance, found, opens)))?.object;
    expect(object?.material).toEqual(sound);
    expect((await copyOf(b, key))?.material).toEqual(broken);
  });
});

describe("a change of a record whose copy in one region has a broken seal", () => {
  async function changed(key: ManagedObject) {
    const { a, time } = regions;
    const before = await must(a.own, key);
    const change = adding(before, "activated", activated);
    return await time.until(a.store.commit(instance, [change], []));
  }

  test("is made in both regions, each with the material that it had; the next merge replaces the broken copy", async () => {
    const { a, b, time: timers } = regions;
    const key = await keyWith(broken, sound);
    expect(await changed(key)).toEqual({ kind: "committed", regions: ["a", "b"] });
    const facts = { activated };
    expect(await copyOf(b, key)).toMatchObject({ facts, material: sound });
    expect(await copyOf(a, key)).toMatchObject({ facts, material: broken });
    expect(await b.own.quarantined()).toBe(0);
    const { object } = await must(b.own, key);
    const options = { from: "b", timers, observe: () => undefined, seals };
    expect(await mergeInto(a.own, [object], options)).toMatchObject([{ result: "written" }]);
    expect(await copyOf(a, key)).toMatchObject({ facts, material: sound });
    expect(await a.own.quarantined()).toBe(1);
  });

  test("repairs the other region's copy where that is the broken one", async () => {
    const { b } = regions;
    const key = await keyWith(sound, broken);
    expect(await changed(key)).toEqual({ kind: "committed", regions: ["a", "b"] });
    expect(await copyOf(b, key)).toMatchObject({ facts: { activated }, material: sound });
    expect(await b.own.quarantined()).toBe(1);
  });

  test.each<[string, SealedMaterial, SealedMaterial | undefined]>([
    ["both are broken", broken, broken2],
    ["the other one has no material", broken, undefined],
  ])("is made in this region only where %s, and nothing is replaced", async (_, inA, inB) => {
    const { a, b } = regions;
    const key = newKey(regions, { material: inA });
    await put(a, key);
    await put(b, { ...key, material: inB });
    expect(await changed(key)).toEqual({ kind: "committed", regions: ["a"] });
    expect((await copyOf(b, key))?.material).toEqual(inB);
  });

  test("is made in this region only while the key is closed: which copy is true is unknown", async () => {
    const key = await keyWith(broken, sound);
    closed = true;
    expect(await changed(key)).toEqual({ kind: "committed", regions: ["a"] });
    expect((await copyOf(regions.b, key))?.facts).toEqual({});
  });
});

describe("copies under different KEKs that both open", () => {
  const newSeal = { ...sealed(1), kekId: "1f8fad5b-d9cb-469f-a165-70867728950e" };
  const chooses = {
    opens,
    newer: async (own: ManagedObject) => ({ ...own, material: newSeal }),
    releases: async () => false,
  };
  const options = () => ({
    ...{ from: "b", timers: regions.time, observe: () => undefined, seals: chooses },
  });

  test.each([
    ["the other copy", sound, newSeal, "written"],
    ["the own copy", newSeal, sound, "same"],
  ] as const)("come under the newer one, which %s has", async (_, inA, inB, result) => {
    const { a } = regions;
    const key = newKey(regions, { material: inA });
    await put(a, key);
    expect(await mergeInto(a.own, [{ ...key, material: inB }], options())).toMatchObject([
      { result },
    ]);
    expect((await copyOf(a, key))?.material).toEqual(newSeal);
    expect(await a.own.quarantined()).toBe(0);
  });

  test("are joined with the own seals while the key is closed", async () => {
    const { a } = regions;
    const key = newKey(regions, { material: sound });
    await put(a, key);
    closed = true;
    const copy = { ...key, material: newSeal, facts: { activated } };
    expect(await mergeInto(a.own, [copy], options())).toMatchObject([{ result: "written" }]);
    expect(await copyOf(a, key)).toMatchObject({ facts: { activated }, material: sound });
  });

  test("lose their material when one of them is destroyed", async () => {
    const { a } = regions;
    const key = newKey(regions, { material: sound });
    await put(a, key);
    const destroyed = { time: 9, region: "b" };
    const copy = { ...key, material: undefined, facts: { destroyed } };
    expect(await mergeInto(a.own, [copy], options())).toMatchObject([{ result: "written" }]);
    expect(await copyOf(a, key)).toMatchObject({ facts: { destroyed }, material: undefined });
  });

  test("that do not hold the same are no copies of one key: the other one is put aside", async () => {
    const { a } = regions;
    const key = newKey(regions, { material: sound });
    await put(a, key);
    const copy = { ...key, material: newSeal };
    expect(await mergeInto(a.own, [copy], { ...options(), seals })).toMatchObject([
      { result: "quarantined" },
    ]);
    expect((await copyOf(a, key))?.material).toEqual(sound);
  });
});
