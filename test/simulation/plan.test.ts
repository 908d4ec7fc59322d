import { expect, test } from "vitest";
import { faults } from "./faults.ts";
import { orderNames } from "./order.ts";
import { type Plan, planLines, planOf, shrunk } from "./plan.ts";

const seeds = Array.from({ length: 200 }, (_, at) => at + 1);

test("a seed always gives the same plan, and different seeds give different ones", () => {
  expect(planOf(5)).toEqual(planOf(5));
  expect(new Set(seeds.map((seed) => JSON.stringify(planOf(seed)))).size).toBe(seeds.length);
});

test("the plans of many seeds have every fault, and everything that may stay away", () => {
  const plans = seeds.map((seed) => planOf(seed));
  const names = new Set(plans.flatMap((plan) => plan.faults.map(({ name }) => name)));
  expect([...names].toSorted()).toEqual(Object.keys(faults).toSorted());
  expect(new Set(plans.map(({ remains }) => remains)).size).toBe(3);
  expect(new Set(plans.map(({ replicas }) => replicas))).toEqual(new Set([0, 1, 2]));
});

test("a copy from which a record is repaired is not lost", () => {
  const lost = seeds.map((seed) => planOf(seed)).filter(({ loss }) => loss !== undefined);
  expect(lost.length).toBeGreaterThan(5);
  const names = new Set(lost.flatMap((plan) => plan.faults.map(({ name }) => name)));
  expect(names).not.toContain("record damaged");
  expect(names).not.toContain("region lost and retired");
});

test("with a focus, all faults are of this kind, and no store is lost", () => {
  const plans = seeds.map((seed) => planOf(seed, "clock jump"));
  expect(new Set(plans.flatMap((plan) => plan.faults.map(({ name }) => name)))).toEqual(
    new Set(["clock jump"]),
  );
  expect(plans.every(({ loss }) => loss === undefined)).toBe(true);
});

test("a focus may have several parts: kinds of faults, an order, the loss of a store", () => {
  const plans = seeds.map((seed) => planOf(seed, "store lost + clock jump + Redis full"));
  expect(new Set(plans.flatMap((plan) => plan.faults.map(({ name }) => name)))).toEqual(
    // A cut around the loss comes with it.
    new Set(["clock jump", "Redis full", "cut between the regions"]),
  );
  expect(plans.every(({ loss, order }) => loss !== undefined && order === undefined)).toBe(true);
  const ordered = seeds.map((seed) => planOf(seed, "keys restored + clock jump"));
  expect(new Set(ordered.map(({ order }) => order?.name))).toEqual(new Set(["keys restored"]));
  expect(ordered.some(({ loss }) => loss !== undefined)).toBe(false);
  const midway = seeds.map((seed) =>
    planOf(seed, "store lost in the middle of an agreed operation"),
  );
  expect(midway.every(({ loss }) => loss?.isMidway)).toBe(true);
  // With the loss alone, the faults are those of chance.
  const lost = seeds.map((seed) => planOf(seed, "store lost"));
  expect(lost.every(({ loss }) => loss !== undefined)).toBe(true);
  expect(new Set(lost.flatMap((plan) => plan.faults.map(({ name }) => name))).size).toBeGreaterThan(
    9,
  );
});

test("some histories have an order, of every kind; with a focus on it, each has it", () => {
  const ordered = seeds.flatMap((seed) => planOf(seed).order?.name ?? []);
  expect(ordered.length).toBeGreaterThan(seeds.length / 10);
  expect(ordered.length).toBeLessThan(seeds.length / 4);
  expect(new Set(ordered)).toEqual(new Set(orderNames));
  for (const name of orderNames) {
    const { order, ...rest } = planOf(7, name);
    expect(order?.name).toBe(name);
    expect(rest).toMatchObject({ busyMs: planOf(7).busyMs, remains: planOf(7).remains });
  }
  expect(seeds.some((seed) => planOf(seed, "clock jump").order !== undefined)).toBe(false);
});

/** A plan with these faults, one second apart. */
function planWith(names: readonly string[]): Plan {
  const planned = names.map((name, at) => ({ name, atMs: at * 1_000, lastsMs: 500, seed: at }));
  const loss = { atMs: 1, copyAtMs: 0, seed: 1 };
  return { ...planOf(1), faults: planned, loss, busyMs: 8_000, remains: "nothing" };
}

const namesOf = (plan: Plan): readonly string[] => plan.faults.map(({ name }) => name);

test("the shortest plan has only the faults without which nothing fails", async () => {
  const tried: Plan[] = [];
  const fails = async (plan: Plan): Promise<boolean> => {
    tried.push(plan);
    return namesOf(plan).includes("clock jump") && namesOf(plan).includes("Redis full");
  };
  const long = planWith(["node killed", "clock jump", "slow disk", "Redis full", "node frozen"]);
  const short = await shrunk(long, fails);
  expect(namesOf(short)).toEqual(["clock jump", "Redis full"]);
  expect(short).toMatchObject({
    loss: undefined,
    order: undefined,
    remains: "nothing",
    readers: 0,
    clients: 1,
  });
  expect(short.busyMs).toBe(2_000);
  expect(tried.length).toBeLessThan(30);
});

test("a plan of which every part is needed stays as it is", async () => {
  const long = planWith(["node killed", "clock jump"]);
  expect(await shrunk(long, async (plan) => plan === long)).toBe(long);
});

test("a plan is printed as lines of text", () => {
  expect(planLines(planWith(["clock jump"]))).toEqual([
    expect.stringContaining("clients and 3 readers for 8.00 s"),
    "0.00 s  clock jump, for 0.50 s",
    "0.00 s  a store is lost",
  ]);
});
