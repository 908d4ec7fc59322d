import { expect, test } from "vitest";
import type { Recount, StateCounts } from "../../../ports/own-store.ts";
import { initialMonth, stateCounts } from "../../../ports/state-counts.ts";
import type { Facts } from "../../../record/record.ts";
import { destroyed, type OwnWorld } from "./own-world-conformance.ts";

type Make = () => Promise<OwnWorld>;

const at = { time: 1, region: "a" };
const stepsMax = 1_000;

/** Numbers of objects by state, which the store keeps as counters. */
export function counting(world: Make): void {
  test("an instance without objects has none in any state", async () => {
    const w = await world();
    await w.created();
    const other = await w.neighbour();
    expect(await other.store.counts(other.instance)).toEqual(stateCounts());
    expect((await w.store.countsIn(w.partition))?.has(other.instance)).toBe(false);
  });

  test("follow an object through every transition", async () => {
    const w = await world();
    const expected = async (given: Partial<StateCounts>): Promise<void> => {
      expect(await w.store.counts(w.instance)).toEqual(stateCounts(given));
      const its = (await w.store.countsIn(w.partition))?.get(w.instance);
      expect(its?.states).toEqual(stateCounts(given));
      const live = stateCounts({ ...given, Destroyed: 0, DestroyedCompromised: 0 });
      const sum = Object.values(live).reduce((all, count) => all + count, 0);
      const months = [...(its?.months ?? [])].filter(([, count]) => count > 0);
      expect(months).toEqual(sum === 0 ? [] : [[initialMonth(w.object()), sum]]);
    };
    const facts = async (id: string, next: Facts): Promise<void> => {
      const before = await w.get(id);
      expect(await w.update(before, { facts: next })).toEqual({ kind: "committed" });
    };
    const { uniqueIdentifier: one } = (await w.created()).object;
    const { uniqueIdentifier: two } = (await w.created()).object;
    await expected({ PreActive: 2 });
    await facts(one, { activated: at });
    await expected({ PreActive: 1, Active: 1 });
    await facts(one, { activated: at, deactivated: at });
    await expected({ PreActive: 1, Deactivated: 1 });
    await facts(one, { activated: at, deactivated: at, compromised: at });
    await expected({ PreActive: 1, Compromised: 1 });
    expect(await w.update(await w.get(two), destroyed)).toEqual({ kind: "committed" });
    await expected({ Destroyed: 1, Compromised: 1 });
    await facts(one, { compromised: at, destroyed: at });
    await expected({ Destroyed: 1, DestroyedCompromised: 1 });
  });

  test("do not count what changed nothing, was refused, or only changed attributes", async () => {
    const w = await world();
    const stored = await w.created();
    expect((await w.create(stored.object)).kind).toBe("conflict");
    expect(await w.update(stored, {})).toEqual({ kind: "committed" });
    expect(await w.update(stored, { lastChange: 9 })).toEqual({ kind: "committed" });
    expect((await w.update(stored, { lastChange: 10 })).kind).toBe("conflict");
    const now = await w.get(stored.object.uniqueIdentifier);
    const served = { ...now.object, facts: { served: at } };
    expect(await w.store.markServed(w.instance, now, served)).toBe(true);
    expect(await w.store.counts(w.instance)).toEqual(stateCounts({ PreActive: 1 }));
  });

  test("count what a join brings", async () => {
    const w = await world();
    const object = { ...w.object(), facts: { activated: at, deactivated: at } };
    expect(await w.create(object, { joined: true })).toEqual({ kind: "committed" });
    expect(await w.store.counts(w.instance)).toEqual(stateCounts({ Deactivated: 1 }));
  });

  test("are the same after a recount, also while objects change", async () => {
    const w = await world();
    const ids: string[] = [];
    for (let made = 0; made < 5; made++) ids.push((await w.created()).object.uniqueIdentifier);
    let step: Recount;
    let steps = 0;
    do {
      step = await w.store.recount(w.partition);
      const id = ids.pop();
      if (id !== undefined) await w.update(await w.get(id), { facts: { activated: at } });
      steps += 1;
    } while ((step.left > 0 || ids.length > 0) && steps < stepsMax);
    expect(step.wrong).toBe(0);
    expect(await w.store.counts(w.instance)).toEqual(stateCounts({ Active: 5 }));
  });
}
