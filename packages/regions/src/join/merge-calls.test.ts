import { type ManagedObject, makeRecord, StoreUnavailable, systemInstance } from "@holdfast/engine";
import { groupItem, sampleRegister } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
import { creation, instance } from "../testing/test-keys.ts";
import { numberedKey as key, mergeWorld as world } from "../testing/test-merge.ts";

const fact = { time: 9, region: "b" };
const full = () => new StoreUnavailable("full", "no room");

describe("a record is read before it is written", () => {
  const stamped = (at: number, us: number) => sampleRegister(groupItem(`g${at}`), us, "", at);
  const once = ["commit 1"];
  const read = ["read 1", "commit 1"];
  test.each<[string, Partial<ManagedObject>, readonly string[]]>([
    ["not if it is as it was made", {}, once],
    ["not if it has no attributes", { registers: [] }, once],
    ["not if it is Active since it was made", { facts: { activated: fact } }, once],
    [
      "not if its attributes were written at once",
      { registers: [stamped(0, 5), stamped(1, 5)] },
      once,
    ],
    ["if an attribute was written later", { registers: [stamped(0, 5), stamped(1, 6)] }, read],
    ["if it was served", { facts: { served: fact } }, read],
    ["if it was deactivated", { facts: { deactivated: fact } }, read],
    ["if it was compromised", { facts: { compromised: fact } }, read],
    ["if it was destroyed", { facts: { destroyed: fact } }, read],
  ])("%s", async (_name, more, calls) => {
    const { own, results } = await world();
    expect(await results([key(1, more)])).toEqual(["written"]);
    expect(own.calls).toEqual(calls);
  });
});

describe("a writer that is faster", () => {
  const served = (time: number) => ({ facts: { served: { time, region: "a" } } });

  test("each time ends the merge after 32 tries", async () => {
    const { own, results } = await world();
    await results([key(1, served(1_000))]);
    const { read } = own;
    let time = 1_000;
    own.read = async (...given) => {
      const copies = await read.apply(own, given);
      const [before] = copies;
      if (before === undefined) throw new Error("no record");
      time -= 1;
      const after = { ...before.object, ...served(time) };
      await own.commit(instance, [{ kind: "update", before, after }], []);
      return copies;
    };
    const changed = key(1, { facts: { deactivated: fact } });
    await expect(results([changed])).rejects.toMatchObject({ failure: "timeout" });
    expect(own.calls).toEqual(
      Array.from({ length: 32 }, () => ["read 1", "commit 1", "commit 1"]).flat(),
    );
  });

  test("made the same records meanwhile, which are not put aside", async () => {
    const { own, time, results } = await world();
    const { commit } = own;
    const others = [key(1), key(2)];
    own.commit = async (...given) => {
      const made = others.shift();
      if (made !== undefined) await commit.call(own, instance, [creation(made)], []);
      return await commit.apply(own, given);
    };
    expect(await results([key(1), key(2)], { reservedMs: 1_000 })).toEqual(["same", "same"]);
    expect(own.aside).toEqual([]);
    // Nobody holds them, so nothing is waited for.
    expect(time.monotonicMs()).toBe(0);
  });
});

test("a full store that gets room writes each record alone, and says which one is held", async () => {
  const { own, results } = await world();
  await own.reserve(instance, [key(3).uniqueIdentifier], "operation");
  const { commit } = own;
  let refusals = 2;
  own.commit = async (...given) => {
    if (refusals === 0) return await commit.apply(own, given);
    refusals -= 1;
    own.calls.push("refused");
    throw full();
  };
  expect(await results([key(1), key(2), key(3)])).toEqual(["written", "written", "reserved"]);
  expect(own.calls).toEqual(["refused", "read 3", "refused", "commit 1", "commit 1", "commit 1"]);
});

test("a full store that refuses several records alone says why the first one was refused", async () => {
  const { own, results } = await world();
  const errors = Array.from({ length: 4 }, full);
  own.commit = async () => {
    throw errors.shift();
  };
  const last = errors.slice(2);
  await expect(results([key(1), key(2)])).rejects.toBe(last[0]);
});

test("another failure of the store ends the merge at once", async () => {
  const { own, results } = await world();
  const failure = new StoreUnavailable("timeout", "no answer");
  let commits = 0;
  own.commit = async () => {
    commits += 1;
    throw failure;
  };
  await expect(results([key(1)])).rejects.toBe(failure);
  expect(commits).toBe(1);
  const { quarantine } = own;
  own.quarantine = async (...given) => {
    if (given[3].replacement !== undefined) throw failure;
    await quarantine.apply(own, given);
  };
  Reflect.deleteProperty(own, "commit");
  await results([key(1)]);
  own.damage(key(1).uniqueIdentifier);
  await expect(results([key(1, { facts: { served: fact } })])).rejects.toBe(failure);
});

test("nothing is opened where the copies can be joined", async () => {
  const { results } = await world();
  await results([key(1)]);
  const opens = () => Promise.reject(new Error("nobody asked"));
  expect(
    await results([key(1, { facts: { served: fact } })], {
      seals: { opens, newer: opens, releases: async () => false },
    }),
  ).toEqual(["written"]);
});

test("two records that claim the same name are both joined", async () => {
  const { own, results } = await world();
  const values = {
    ...{ instance: "i", fingerprint: "00".repeat(32), subject: "", issuer: "", serial: "" },
    ...{ notBeforeMs: 0, notAfterMs: 1, createdMs: 1, createdBy: "t", pem: "PEM" },
    kind: "client",
    origin: "added",
    claims: [["certificate", "one"]],
  } as const;
  const made = [key(1), key(2)].map(({ uniqueIdentifier }) =>
    makeRecord("Certificate", uniqueIdentifier, values, { us: 1, region: "b" }),
  );
  for (const record of made) expect(await results([record])).toEqual(["written"]);
  expect(
    await own.read(
      systemInstance,
      made.map((each) => each.uniqueIdentifier),
    ),
  ).toHaveLength(2);
});

test("a store that answers what no store answers to a join is not asked again", async () => {
  const { own, results } = await world();
  const { uniqueIdentifier } = key(1);
  own.commit = async () => ({ kind: "nameTaken", uniqueIdentifier, name: "n" });
  await expect(results([key(1)])).rejects.toThrow("a joined commit was refused: nameTaken");
  own.commit = async () => ({ kind: "instanceClosed" });
  const destroyed = key(1, { facts: { destroyed: fact } });
  expect(await results([destroyed])).toEqual(["refused"]);
});
