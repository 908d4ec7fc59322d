import { KeyRingUnavailable, type ManagedObject, recordTag } from "@holdfast/engine";
import { describe, expect, test } from "vitest";
import { instance } from "../testing/test-keys.ts";
import { numberedKey as key, mergeWorld as world } from "../testing/test-merge.ts";
import type { Seals } from "./heal.ts";
import type { Instead, MayJoin, OwnBefore } from "./may-join.ts";
import { type Merged, type MergeOptions, mergeInto } from "./merge.ts";

const id1 = key(1).uniqueIdentifier;
const activated = { activated: { time: 8, region: "b" } };
const served = { served: { time: 3, region: "b" } };

/** Merges one copy of region b; returns the result and what is reported. */
async function mergedOf(
  { own, time, events }: Awaited<ReturnType<typeof world>>,
  copy: ManagedObject,
  more: Partial<MergeOptions>,
): Promise<Merged> {
  own.calls.length = 0;
  own.aside.length = 0;
  events.length = 0;
  const observe: MergeOptions["observe"] = (event) => events.push(event);
  const merging = { from: "b", timers: time, observe, ...more };
  const [merged] = await time.until(mergeInto(own, [copy], merging));
  if (merged === undefined) throw new Error("a merge without a result");
  return merged;
}

/** A store with its copy of a record: none, a sound one or a damaged one. */
async function having(own: ManagedObject | "damaged" | undefined) {
  const made = await world();
  if (own !== undefined) await made.results([own === "damaged" ? key(1) : own]);
  if (own === "damaged") made.own.damage(id1);
  return made;
}

/** A record as a result names it. */
function storedAs(object: ManagedObject): { readonly stored: unknown } {
  return { stored: expect.objectContaining({ tag: recordTag(object) }) };
}

const why = "nobody approved it";
const [mine, theirs] = [key(1), key(1, { facts: activated })];
const other = key(1, { facts: served });

interface Case {
  readonly own: ManagedObject | "damaged" | undefined;
  readonly copy: ManagedObject;
  readonly answer: string | Instead;
  readonly result: Merged["result"];
  /** What the result names; nothing unless given. */
  readonly stored?: ManagedObject;
  readonly calls: readonly string[];
}

describe("a copy that this region does not take as it is", () => {
  const refused = { answer: why, result: "unproven" } as const;
  test.each<[string, Case]>([
    [
      "is not made if it looks new, once the store was read",
      { ...refused, own: undefined, copy: key(1), calls: ["read 1"] },
    ],
    [
      "is not made if it was changed since",
      { ...refused, own: undefined, copy: other, calls: ["read 1"] },
    ],
    [
      "changes nothing in the own copy",
      { ...refused, own: mine, copy: theirs, stored: mine, calls: ["read 1"] },
    ],
    [
      "does not take the place of damaged bytes",
      { ...refused, own: "damaged", copy: other, calls: ["read 1", "read 1"] },
    ],
    [
      "is written in its other form",
      {
        ...{ own: mine, copy: theirs, answer: { instead: other } },
        ...{ result: "written", stored: other, calls: ["read 1", "commit 1"] },
      },
    ],
    [
      "is made in its other form",
      {
        ...{ own: undefined, copy: key(1), answer: { instead: other } },
        ...{ result: "written", stored: other, calls: ["read 1", "commit 1"] },
      },
    ],
    [
      "counts as unproven if there is a reason, although another form is written",
      {
        ...{ own: mine, copy: theirs, answer: { instead: other, reason: why } },
        ...{ result: "unproven", stored: other, calls: ["read 1", "commit 1"] },
      },
    ],
    [
      "... or made",
      {
        ...{ own: undefined, copy: key(1), answer: { instead: other, reason: why } },
        ...{ result: "unproven", stored: other, calls: ["read 1", "commit 1"] },
      },
    ],
    [
      "is written no more if the own copy is its other form",
      {
        ...{ own: mine, copy: theirs, answer: { instead: mine } },
        ...{ result: "same", stored: mine, calls: ["read 1"] },
      },
    ],
    [
      "... and counts as unproven there if there is a reason",
      {
        ...{ own: mine, copy: theirs, answer: { instead: mine, reason: why } },
        ...{ result: "unproven", stored: mine, calls: ["read 1"] },
      },
    ],
  ])("%s", async (_rule, { own, copy, answer, result, stored, calls }) => {
    const made = await having(own);
    const seen: OwnBefore[] = [];
    const mayJoin: MayJoin = async (before) => {
      seen.push(before);
      return answer;
    };
    const merged = await mergedOf(made, copy, { mayJoin });
    expect(merged).toStrictEqual({ result, ...(stored && storedAs(stored)) });
    expect(made.own.calls).toEqual(calls);
    // The decision knows the own copy as it is.
    expect(seen.at(-1)).toEqual(own);
    expect(made.own.aside).toEqual([]);
    const reported = made.events.filter(({ type }) => type === "unproven");
    const report = { type: "unproven", region: "b", record: id1, reason: why };
    expect(reported).toEqual(result === "unproven" ? [report] : []);
    if (own !== "damaged") expect(await made.get(id1)).toEqual(stored);
  });

  test("needs no proof if the own store has it already", async () => {
    const made = await having(mine);
    const mayJoin: MayJoin = async (before) => (before === undefined ? why : undefined);
    const merged = await mergedOf(made, key(1), { mayJoin });
    expect(merged).toStrictEqual({ result: "same", ...storedAs(mine) });
    expect(made.events.map(({ type }) => type)).toEqual(["join"]);
  });

  describe("and that looks new changes nothing for the other records of its merge that the store has", () => {
    const copies = [key(1), key(2), key(3)];
    const unprovenFirst: MayJoin = async (before, { uniqueIdentifier }) =>
      before === undefined && uniqueIdentifier === id1 ? why : undefined;
    const unprovenNew: MayJoin = async (before) => (before === undefined ? why : undefined);
    type World = Awaited<ReturnType<typeof world>>;
    const nothing = () => undefined;
    const fill = ({ own }: World) => {
      own.full = true;
    };
    const hold = ({ own }: World) => own.reserve(instance, [key(2).uniqueIdentifier], "operation");

    test.each<[string, MayJoin, (made: World) => unknown]>([
      ["they need no proof either", unprovenNew, nothing],
      ["a full store accepts them", unprovenFirst, fill],
      ["one that is held needs no change", unprovenFirst, hold],
    ])("%s", async (_rule, mayJoin, prepare) => {
      const made = await world();
      await made.results(copies);
      await prepare(made);
      made.events.length = 0;
      expect(await made.results(copies, { mayJoin })).toEqual(["same", "same", "same"]);
      expect(made.events.map(({ type }) => type)).toEqual(["join", "join", "join"]);
    });
  });

  test("does not cost a read if it looks new and is taken as it is", async () => {
    const made = await having(undefined);
    const merged = await mergedOf(made, key(1), { mayJoin: () => undefined });
    expect(merged).toStrictEqual({ result: "written", ...storedAs(mine) });
    expect(made.own.calls).toEqual(["commit 1"]);
  });
});

describe("while the instance's key is closed", () => {
  const closed = () => Promise.reject(new KeyRingUnavailable(false, "closed"));
  const shut: Seals = { opens: closed, newer: closed, releases: closed };
  const sealed = (kekId: string) => ({
    material: { kekId, nonce: new Uint8Array(12), ciphertext: new Uint8Array(32) },
  });
  const { kekId = "" } = mine.material ?? {};

  test.each<[string, ManagedObject, Omit<Merged, "stored">, ManagedObject | undefined]>([
    [
      "a copy under another KEK is to be joined again, though nothing else is new",
      key(1, sealed(id1)),
      { result: "same", closed: true },
      mine,
    ],
    [
      "what else is new in it is written",
      key(1, { ...sealed(id1), facts: activated }),
      { result: "written", closed: true },
      theirs,
    ],
    [
      "nobody can tell whether a copy under the same KEK contradicts the own one",
      key(1, sealed(kekId)),
      { result: "refused", closed: true },
      undefined,
    ],
    ["a copy with the same seals needs no key", theirs, { result: "written" }, theirs],
    ["nor does one that is the own one", key(1), { result: "same" }, mine],
  ])("%s", async (_rule, copy, expected, stored) => {
    const made = await having(mine);
    const merged = await mergedOf(made, copy, { seals: shut });
    expect(merged).toStrictEqual({ ...expected, ...(stored && storedAs(stored)) });
    expect(made.own.aside).toEqual([]);
    expect((await made.get(id1))?.material).toEqual(mine.material);
  });
});

test("the given join decides what two copies become", async () => {
  const made = await having(mine);
  const join: MergeOptions["join"] = () => ({ kind: "joined", object: other });
  expect(await mergedOf(made, theirs, { join })).toStrictEqual({
    result: "written",
    ...storedAs(other),
  });
  expect(await made.get(id1)).toEqual(other);
});
