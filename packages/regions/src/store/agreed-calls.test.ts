import {
  type Change,
  type Event,
  type ManagedObject,
  makeRecord,
  StoreUnavailable,
  systemInstance,
} from "@holdfast/engine";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { storedOf } from "../join/join.ts";
import { TestAgreement } from "../testing/test-agreement.ts";
import {
  adding,
  creation,
  instance,
  must,
  newKey,
  put,
  regionsWithInstance,
} from "../testing/test-keys.ts";
import { copyOf, type TestRegion, type TestRegions } from "../testing/test-regions.ts";
import { agreedCommit } from "./agreed.ts";

const destroyed = { time: 9, region: "b" };
const activated = { time: 8, region: "b" };
const lost = () => {
  throw new StoreUnavailable("timeout", "the answer was lost");
};
const broken = () => {
  throw new TypeError("a bug");
};

let regions: TestRegions;
let calls: string[];
let events: Event[];
let agree: TestAgreement["agree"];

beforeEach(async () => {
  regions = await regionsWithInstance();
  ({ calls, events, agree } = new TestAgreement(regions));
});

afterEach(() => regions.close());

/** A key that both regions have, and the change that destroys it. */
async function destruction(): Promise<{ readonly key: ManagedObject; readonly destroy: Change }> {
  const key = newKey(regions);
  for (const region of [regions.a, regions.b]) await put(region, key);
  return { key, destroy: adding(await must(regions.a.own, key), "destroyed", destroyed) };
}

async function activate({ own }: TestRegion, key: ManagedObject): Promise<void> {
  await own.commit(instance, [adding(await must(own, key), "activated", activated)], []);
}

/** Ends the agreement's own reservations in a region. */
async function endReservations({ own }: TestRegion): Promise<void> {
  for (const { operation } of await own.reservations()) await own.release(instance, operation);
}

const reserve = ["reserve a", "reserve b"];
const asked = [...reserve, "read a", "read b"];
const release = ["release a", "release b"];
const failing = (failure: string) => ({ name: "StoreUnavailable", failure });
const bug = { name: "TypeError" };
/** Brings the key's copies apart, or takes the key away. */
type Prepare = (key: ManagedObject) => Promise<unknown> | undefined;
const nothing: Prepare = () => undefined;
const differs: Prepare = (key) => activate(regions.b, key);
const holds: Prepare = (key) => regions.b.own.reserve(instance, [key.uniqueIdentifier], "other");
const held = async (key: ManagedObject) => {
  await endReservations(regions.a);
  await regions.a.own.reserve(instance, [key.uniqueIdentifier], "other");
};

describe("an agreement makes no other calls than these", () => {
  test.each<
    readonly [
      string,
      Prepare,
      Readonly<Record<string, (key: ManagedObject) => unknown>>,
      object,
      readonly string[],
      "agreed" | "refused" | "unknown",
    ]
  >([
    [
      "nothing is in the way",
      nothing,
      {},
      { kind: "committed", regions: ["a", "b"] },
      [...asked, "write a update", "write b update"],
      "agreed",
    ],
    [
      "another operation holds the record in the second region",
      holds,
      {},
      failing("reserved"),
      [...reserve, "release a"],
      "refused",
    ],
    [
      "it holds it, and the release has a bug",
      holds,
      { "release a": broken },
      bug,
      [...reserve, "release a", ...release],
      "refused",
    ],
    [
      "the first region cannot reserve",
      nothing,
      { "reserve a": lost },
      { ...failing("noAgreement"), cause: failing("timeout") },
      ["reserve a", "release a"],
      "refused",
    ],
    [
      "the second region cannot reserve, and the first one not release",
      nothing,
      { "reserve b": lost, "release a": lost },
      failing("noAgreement"),
      [...reserve, ...release],
      "refused",
    ],
    [
      "a region cannot read",
      nothing,
      { "read b": lost },
      failing("noAgreement"),
      [...asked, ...release],
      "refused",
    ],
    [
      "a region's copy does not decode",
      nothing,
      { "read b": (key) => regions.b.own.damage(key.uniqueIdentifier) },
      { ...failing("corrupt"), cause: failing("corrupt") },
      [...asked, ...release],
      "refused",
    ],
    [
      "the second region's copy is the joined one",
      differs,
      {},
      { kind: "conflict" },
      [...asked, "write a update", "release b"],
      "refused",
    ],
    [
      "the first region cannot write the joined copy",
      differs,
      { "write a": lost },
      failing("noAgreement"),
      [...asked, "write a update", ...release],
      "refused",
    ],
    [
      "the second region cannot release the joined copy at first",
      differs,
      { "release b": lost },
      failing("noAgreement"),
      [...asked, "write a update", "release b", "release b"],
      "refused",
    ],
    [
      "the decision's answer is lost",
      nothing,
      { "write a": lost },
      { ...failing("barrierShort"), cause: failing("timeout") },
      [...asked, "write a update"],
      "unknown",
    ],
    [
      "the reservation in the first region has ended",
      nothing,
      { "write a": () => endReservations(regions.a) },
      failing("reserved"),
      [...asked, "write a update", ...release],
      "refused",
    ],
    [
      "another operation has taken the reservation's place",
      nothing,
      { "write a": held },
      failing("reserved"),
      [...asked, "write a update", ...release],
      "refused",
    ],
    [
      "the reservation in the second region has ended",
      nothing,
      { "write b": () => endReservations(regions.b) },
      { kind: "committed" },
      [...asked, "write a update", "write b update", "merge b"],
      "agreed",
    ],
    [
      "the second region is lost after the decision",
      nothing,
      { "write b": lost, "merge b": lost },
      failing("barrierShort"),
      [...asked, "write a update", "write b update", "merge b"],
      "unknown",
    ],
    [
      "the second write has a bug",
      nothing,
      { "write b": broken },
      bug,
      [...asked, "write a update", "write b update"],
      "unknown",
    ],
    [
      "the second region's write is lost, and its merge has a bug",
      nothing,
      { "write b": lost, "merge b": broken },
      bug,
      [...asked, "write a update", "write b update", "merge b"],
      "unknown",
    ],
  ])("if %s", async (_name, prepare, before, outcome, expected, result) => {
    const { key, destroy } = await destruction();
    await prepare(key);
    const meddling = Object.entries(before).map(([call, meddle]) => [call, () => meddle(key)]);
    expect(await agree([destroy], { before: Object.fromEntries(meddling) })).toMatchObject(outcome);
    expect(calls).toEqual(expected);
    expect(events).toEqual([{ type: "agreement", result, durationMs: 0 }]);
  });
});

test("an agreement tries to reserve for as long as it may, and says how long it took", async () => {
  const { key, destroy } = await destruction();
  await holds(key);
  expect(await agree([destroy], { reservedMs: 150 })).toMatchObject(failing("reserved"));
  expect(calls.filter((call) => call === "reserve b")).toHaveLength(4);
  expect(events).toEqual([{ type: "agreement", result: "refused", durationMs: 150 }]);
});

test("a record that only one region has is made in the other one; one that none has is left out", async () => {
  const alone = newKey(regions);
  await put(regions.a, alone);
  const destroy = adding(await must(regions.a.own, alone), "destroyed", destroyed);
  expect(await agree([destroy])).toEqual({
    kind: "conflict",
    uniqueIdentifier: alone.uniqueIdentifier,
  });
  expect(calls).toEqual([...asked, "release a", "write b create"]);
  expect(await copyOf(regions.b, alone)).toEqual(alone);
  calls.length = 0;
  const gone = newKey(regions);
  expect(await agree([adding(storedOf(gone), "destroyed", destroyed)])).toMatchObject({
    kind: "conflict",
  });
  expect(calls).toEqual([...asked, ...release]);
});

test("the region that could not write a joined copy is released, the earlier one was already", async () => {
  const alone = newKey(regions);
  await put(regions.a, alone);
  const destroy = adding(await must(regions.a.own, alone), "destroyed", destroyed);
  const before = { "write b": lost };
  expect(await agree([destroy], { before })).toMatchObject(failing("noAgreement"));
  expect(calls).toEqual([...asked, "release a", "write b create", "release b"]);
});

test("several records are agreed on together, with new ones among them", async () => {
  const [one, other] = [await destruction(), await destruction()];
  const made = newKey(regions);
  for (const { key } of [one, other]) await activate(regions.b, key);
  const changes = [creation(made), one.destroy, other.destroy];
  expect(await agree(changes)).toEqual({
    kind: "conflict",
    uniqueIdentifier: one.key.uniqueIdentifier,
  });
  for (const { key } of [one, other]) {
    for (const region of [regions.a, regions.b]) {
      expect(await copyOf(region, key)).toMatchObject({
        uniqueIdentifier: key.uniqueIdentifier,
        facts: { activated },
      });
    }
  }
  const again = await Promise.all(
    [one, other].map(async ({ key }) =>
      adding(await must(regions.a.own, key), "destroyed", destroyed),
    ),
  );
  expect(await agree([creation(made), ...again])).toMatchObject({ kind: "committed" });
  for (const region of [regions.a, regions.b]) {
    expect(await copyOf(region, made)).toEqual(made);
    expect((await copyOf(region, other.key))?.facts).toEqual({ activated, destroyed });
  }
});

test("without regions there is nothing to agree on", async () => {
  const { destroy } = await destruction();
  const ids = { uuid: () => "", randomBytes: (length: number) => new Uint8Array(length) };
  const options = { timers: regions.time, ids, observe: () => undefined, reservedMs: 0 };
  const wanted = { instance, changes: [destroy], audit: [] };
  await expect(agreedCommit([], wanted, options)).rejects.toThrow(RangeError);
});

test("when two regions make system records with the same claim at once, exactly one is made", async () => {
  const { a, b, time } = regions;
  const claiming = (region: TestRegion, claim: string) => {
    const values = {
      ...{ instance: "i", fingerprint: "00".repeat(32), subject: "", issuer: "", serial: "" },
      ...{ notBeforeMs: 0, notAfterMs: 1, createdMs: 1, createdBy: "t", pem: "PEM" },
      kind: "client",
      origin: "added",
      claims: [["certificate", claim.replace("certificate ", "")]],
    } as const;
    return makeRecord("Certificate", regions.id(), values, { us: 1, region: region.name });
  };
  for (const order of [
    [a, b],
    [b, a],
  ] as const) {
    const claim = `certificate of ${order[0].name}`;
    const made = order.map((region) => claiming(region, claim));
    const outcomes = await time.until(
      Promise.all(
        order.map(({ store }, at) =>
          store.commit(systemInstance, [creation(made[at] as ManagedObject)], [], { agreed: true }),
        ),
      ),
    );
    const won = outcomes.findIndex(({ kind }) => kind === "committed");
    expect(outcomes[1 - won]).toMatchObject({ kind: "nameTaken", name: claim });
    for (const region of [a, b]) {
      expect(await copyOf(region, made[won] as ManagedObject)).toBeDefined();
      expect(await copyOf(region, made[1 - won] as ManagedObject)).toBeUndefined();
    }
  }
});
