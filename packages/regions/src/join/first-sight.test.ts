import { type Destruction, isDestroyed, type ManagedObject } from "@holdfast/engine";
import { expect, test } from "vitest";
import { mergeWorld, numberedKey } from "../testing/test-merge.ts";
import { firstSight } from "./first-sight.ts";
import { join } from "./join.ts";
import type { Instead, MayJoin } from "./may-join.ts";

const now = 1_700_000_000;
const delay = 604_800;
const here = { region: "a", delaySeconds: delay, nowSeconds: now, earliestSeconds: now };
const live = numberedKey(1);
const fact = { time: now, region: "b" };

const pendingUntil = (until: number, more: Partial<Destruction> = {}): ManagedObject => ({
  ...live,
  facts: {
    ...live.facts,
    destruction: { ...fact, state: "pending", until, us: now * 1_000_000, ...more },
  },
});
const erased = (object: ManagedObject): ManagedObject => ({
  ...object,
  material: undefined,
  facts: { ...object.facts, destroyed: fact },
});

test("an end that comes before the delay is over leaves the material and destroys the key for clients", () => {
  for (const [own, until] of [
    [live, now + delay],
    [pendingUntil(now + 5_000), now + 5_000],
    [pendingUntil(now + delay, { state: "restored" }), now + delay],
  ] as const) {
    const found = firstSight(own, erased(own), here);
    expect(found?.reason).toContain("before the delay");
    expect(found?.instead.material).toEqual(live.material);
    expect(found?.instead.facts.destroyed).toBeUndefined();
    expect(found?.instead.facts.destruction).toMatchObject({ state: "pending", until });
    expect(isDestroyed(found?.instead.facts ?? {})).toBe(true);
  }
});

test("an end at its time is taken, and so is one of what is already ended, not here, or in an instance without a delay", () => {
  const over = pendingUntil(now);
  expect(firstSight(over, erased(over), here)).toBeUndefined();
  const later = { ...here, nowSeconds: now + delay, earliestSeconds: now + delay };
  expect(firstSight(pendingUntil(now + delay), erased(live), later)).toBeUndefined();
  expect(firstSight(erased(live), erased(live), here)).toBeUndefined();
  expect(firstSight(undefined, erased(live), here)).toBeUndefined();
  expect(firstSight("damaged", erased(live), here)).toBeUndefined();
  expect(firstSight(live, erased(live), { ...here, delaySeconds: 0 })).toBeUndefined();
});

test("the clock that is behind decides whether the time is over, so none that is ahead erases a key", () => {
  const own = pendingUntil(now + 3_600);
  const ahead = { ...here, nowSeconds: now + delay };
  expect(firstSight(own, erased(own), ahead)?.reason).toBeDefined();
  // A delay of 0 that came since does not end what began before.
  expect(firstSight(own, erased(own), { ...here, delaySeconds: 0 })?.reason).toBeDefined();
});

test("a delay begins when this region first sees the destruction, not at its date", () => {
  expect(firstSight(live, pendingUntil(now + delay), here)).toBeUndefined();
  expect(firstSight(live, pendingUntil(now + delay - 60), here)).toBeUndefined();
  const found = firstSight(live, pendingUntil(now + 1, { time: now - delay }), here);
  expect(found?.reason).toBeUndefined();
  expect(found?.instead.facts.destruction).toMatchObject({ state: "pending", until: now + delay });
  // Of what is pending, another region moves the end only to a later time.
  const own = pendingUntil(now + 5_000);
  const sooner = pendingUntil(now + 1, { us: now * 1_000_000 + 9 });
  expect(firstSight(own, sooner, here)?.instead.facts.destruction?.until).toBe(now + 5_000);
  expect(firstSight(own, pendingUntil(now + 5_001), here)).toBeUndefined();
});

test("both regions end with the later time", () => {
  const theirs = pendingUntil(now + 1, { time: now - delay });
  const ours = firstSight(live, theirs, here)?.instead as ManagedObject;
  const back = join(theirs, ours);
  if (back.kind !== "joined") throw new Error(back.reason);
  expect(back.object.facts).toEqual(ours.facts);
  expect(firstSight(theirs, back.object, { ...here, region: "b" })).toBeUndefined();
  const again = join(ours, theirs);
  expect(again.kind === "joined" && again.object.facts).toEqual(ours.facts);
});

test("a merge writes what is taken instead, reports it once for each try, and takes the end when the time is over", async () => {
  const { results, get, events } = await mergeWorld();
  const { uniqueIdentifier: id } = live;
  let nowSeconds = now;
  const mayJoin: MayJoin = async (before, after): Promise<Instead | undefined> =>
    firstSight(before, after, { ...here, nowSeconds, earliestSeconds: nowSeconds });
  await results([live]);
  expect(await results([erased(live)], { mayJoin })).toEqual(["unproven"]);
  expect(await get(id)).toMatchObject({
    material: live.material,
    facts: { destruction: { state: "pending", until: now + delay } },
  });
  expect(await results([erased(live)], { mayJoin })).toEqual(["unproven"]);
  expect(events.filter(({ type }) => type === "unproven")).toHaveLength(2);
  nowSeconds += delay;
  expect(await results([erased(live)], { mayJoin })).toEqual(["written"]);
  expect((await get(id))?.material).toBeUndefined();
});
