import { type Change, type ManagedObject, StoreUnavailable } from "@holdfast/engine";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Seals } from "../join/heal.ts";
import type { MayJoin } from "../join/may-join.ts";
import { TestAgreement } from "../testing/test-agreement.ts";
import { adding, instance, must, newKey, put, regionsWithInstance } from "../testing/test-keys.ts";
import { copyOf, type TestRegion, type TestRegions } from "../testing/test-regions.ts";

const destroyed = { time: 9, region: "b" };
const activated = { time: 8, region: "b" };
const asked = ["reserve a", "reserve b", "read a", "read b"];
const release = ["release a", "release b"];
const conflict = { kind: "conflict" };

let regions: TestRegions;
let calls: string[];
let merged: TestAgreement["merged"];
let agree: TestAgreement["agree"];

beforeEach(async () => {
  regions = await regionsWithInstance();
  ({ calls, merged, agree } = new TestAgreement(regions));
});

afterEach(() => regions.close());

function failing(failure: StoreUnavailable["failure"]): () => never {
  return () => {
    throw new StoreUnavailable(failure, "it failed");
  };
}

/** The change that destroys a key, as decided on a region's copy. */
async function destruction({ own }: TestRegion, key: ManagedObject): Promise<Change> {
  return adding(await must(own, key), "destroyed", destroyed);
}

/** The same key, sealed in another way. */
function resealed(key: ManagedObject, kekId = key.material?.kekId ?? ""): ManagedObject {
  return {
    ...key,
    material: { kekId, nonce: new Uint8Array(12).fill(7), ciphertext: new Uint8Array(48).fill(7) },
  };
}

describe("a region that cannot reserve", () => {
  test.each([
    ["its own one may not write the format yet: another node may", "a", "a", "formatNotAgreed"],
    ["its own one may not write the format yet: another node may", "b", "b", "formatNotAgreed"],
    ["another one may not write the format yet: nothing is agreed", "a", "b", "noAgreement"],
    ["another one may not write the format yet: nothing is agreed", "b", "a", "noAgreement"],
  ] as const)("%s (asked by %s, refused by %s)", async (_rule, region, at, failure) => {
    const key = newKey(regions);
    for (const each of [regions.a, regions.b]) await put(each, key);
    const before = { [`reserve ${at}`]: failing("formatNotAgreed") };
    const outcome = await agree([await destruction(regions.a, key)], { region, before });
    expect(outcome).toMatchObject({ failure });
  });

  test.each(["a", "b"])(
    "nothing is agreed if the asking region's own store %s does not answer",
    async (region) => {
      const key = newKey(regions);
      for (const each of [regions.a, regions.b]) await put(each, key);
      const before = { [`reserve ${region}`]: failing("timeout") };
      const outcome = await agree([await destruction(regions.a, key)], { region, before });
      expect(outcome).toMatchObject({ failure: "noAgreement", cause: { failure: "timeout" } });
    },
  );
});

test("a region whose copy is under another KEK changes that copy, with its own seals", async () => {
  const key = newKey(regions);
  const theirs = resealed(key, "11111111-0000-4000-8000-000000000000");
  await put(regions.a, key);
  await put(regions.b, theirs);
  const activate = adding(await must(regions.a.own, key), "activated", activated);
  expect(await agree([activate])).toMatchObject({ kind: "committed" });
  expect(calls).toEqual([...asked, "write a update", "write b update"]);
  expect(await copyOf(regions.a, key)).toEqual({ ...key, facts: { activated } });
  expect(await copyOf(regions.b, key)).toEqual({ ...theirs, facts: { activated } });
});

describe("copies that are sealed differently under one KEK", () => {
  const seals: Seals = {
    opens: async () => true,
    newer: async (own) => own,
    releases: async () => false,
  };
  const opening = { seals };

  test("each region merges the copies of the other one and no others, records that one lacks too", async () => {
    const [key, alone] = [newKey(regions), newKey(regions)];
    for (const object of [key, alone]) await put(regions.a, object);
    await put(regions.b, resealed(key));
    const changes = [await destruction(regions.a, key), await destruction(regions.a, alone)];
    expect(await agree(changes, { merging: { a: opening, b: opening } })).toMatchObject(conflict);
    expect(merged).toEqual({ a: [resealed(key)], b: [key, alone] });
    expect(await copyOf(regions.b, alone)).toEqual(alone);
  });

  test.each([
    ["decided on again where both regions took them", { a: opening, b: opening }, {}, conflict],
    ["refused where only the first region took them", { a: opening }, {}, { failure: "corrupt" }],
    ["refused where only the second region took them", { b: opening }, {}, { failure: "corrupt" }],
    [
      "not agreed on now where a region could not be asked to take them",
      { a: opening, b: opening },
      { "merge b": failing("timeout") },
      {
        ...{ failure: "noAgreement", message: expect.stringMatching(/^region b cannot agree now/) },
        cause: { failure: "timeout" },
      },
    ],
  ] as const)("are %s", async (_rule, merging, before, outcome) => {
    const key = newKey(regions);
    await put(regions.a, key);
    await put(regions.b, resealed(key));
    const changes = [await destruction(regions.a, key)];
    expect(await agree(changes, { merging, before })).toMatchObject(outcome);
    expect(calls).toEqual([...asked, ...release, "merge a", "merge b"]);
  });
});

describe("of copies that differ, the region that asks requires proof", () => {
  /** Judges as given, and notes whose changes were judged. */
  function judging(answer: Awaited<ReturnType<MayJoin>>) {
    const from: string[] = [];
    const mayJoin: MayJoin = async (_before, _after, region) => {
      from.push(region);
      return answer;
    };
    return { from, options: { region: "a", mayJoin } };
  }

  test.each([
    ["is made here if it is proven", undefined, conflict],
    ["is not if nobody approved it", "nobody approved it", { failure: "noAgreement" }],
  ] as const)("a record that only the other region has %s", async (_rule, answer, outcome) => {
    const key = newKey(regions);
    await put(regions.b, key);
    const { from, options } = judging(answer);
    expect(await agree([await destruction(regions.b, key)], options)).toMatchObject(outcome);
    expect(from).toEqual(["b"]);
    expect(await copyOf(regions.a, key)).toEqual(answer === undefined ? key : undefined);
  });

  test("not of a region that lacks the record", async () => {
    const key = newKey(regions);
    await put(regions.a, key);
    const { from, options } = judging("nobody approved it");
    expect(await agree([await destruction(regions.a, key)], options)).toMatchObject(conflict);
    expect(from).toEqual([]);
    expect(await copyOf(regions.b, key)).toEqual(key);
  });

  test("not of its own copy, even if a join would leave another one", async () => {
    const key = newKey(regions);
    await put(regions.b, key);
    await put(regions.a, { ...key, facts: { destroyed } });
    const { from, options } = judging(undefined);
    expect(await agree([await destruction(regions.b, key)], options)).toMatchObject(conflict);
    expect(from).toEqual(["b"]);
    expect(await copyOf(regions.a, key)).toMatchObject({ material: undefined });
  });

  test("of the change as it is: one that it takes in another form is not agreed on", async () => {
    const key = newKey(regions);
    for (const each of [regions.a, regions.b]) await put(each, key);
    const { own } = regions.b;
    await own.commit(instance, [adding(await must(own, key), "activated", activated)], []);
    const instead = { ...key, facts: { activated: { ...activated, time: 7 } } };
    const { from, options } = judging({ instead });
    const outcome = await agree([await destruction(regions.a, key)], options);
    expect(outcome).toMatchObject({ failure: "noAgreement" });
    expect(from).toEqual(["b"]);
    expect(calls).toEqual([...asked, ...release]);
    expect(await copyOf(regions.a, key)).toEqual(key);
  });
});
