import { randomBytes } from "node:crypto";
import { dateTime, type Item, integer, textString } from "@holdfast/ttlv";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Register } from "./record.ts";
import {
  addValue,
  currentValues,
  deleteValue,
  deleteValues,
  modifyValue,
  plannedDates,
  registersMax,
  setValue,
  valueAt,
  Writer,
} from "./registers.ts";

const seed = 20260105;
const group = { tag: 0x420056, key: "" };
const custom = { tag: 0x420008, key: "x\0Name" };
const mask = { tag: 0x42002c, key: "" };
const at = (us: number, region = "a") => ({ us, region });
/** The clock of a region's only node. */
const by = (us: number, origin = "a1", region = "a") => ({ us, region, origin });
const text = (value: string): Item => textString(group.tag, value);

function added(registers: readonly Register[], ...values: readonly string[]): readonly Register[] {
  return values.reduce(
    (before, value) => addValue(before, group, text(value), by(1))?.registers ?? [],
    registers,
  );
}

function texts(registers: readonly Register[]): [number, unknown][] {
  return currentValues(registers, group).map(({ index, value }) => [index, value.value]);
}

test("values get one index after the other", () => {
  const registers = added([], "a", "b", "c");
  expect(texts(registers)).toEqual([
    [0, "a"],
    [1, "b"],
    [2, "c"],
  ]);
  expect(valueAt(registers, group)).toEqual(text("a"));
  expect(valueAt(registers, group, 2)).toEqual(text("c"));
  expect(valueAt(registers, group, 3)).toBeUndefined();
});

test("an index is not reused, even that of the last value or of all", () => {
  const gone = deleteValue(added([], "a", "b"), group, 1, at(2));
  const registers = added(gone?.registers ?? [], "c");
  expect(texts(registers)).toEqual([
    [0, "a"],
    [2, "c"],
  ]);
  expect(texts(added(deleteValues(registers, group, at(3)), "d"))).toEqual([[3, "d"]]);
});

test("attributes and keys do not affect each other", () => {
  const first = addValue(added([], "a"), custom, integer(1, 1), by(1));
  const second = addValue(first?.registers ?? [], { ...custom, key: "x\0B" }, integer(1, 2), by(1));
  const registers = second?.registers ?? [];
  expect(second?.register.index).toBe(0);
  expect(currentValues(registers, custom)).toHaveLength(1);
  expect(currentValues(deleteValues(registers, custom, at(2)), custom)).toEqual([]);
  expect(texts(deleteValues(registers, custom, at(2)))).toEqual([[0, "a"]]);
});

test("modify keeps index and origin, and changes nothing else", () => {
  const registers = added([], "a", "b");
  const written = modifyValue(registers, group, 1, text("B"), at(5, "b"));
  expect(written?.register).toEqual({
    ...group,
    index: 1,
    origin: "a1",
    value: text("B"),
    stamp: at(5, "b"),
  });
  expect(written?.registers).toEqual([registers[0], written?.register]);
});

test("nothing can be modified or deleted at an index without value", () => {
  const registers = deleteValue(added([], "a"), group, 0, at(2))?.registers ?? [];
  expect(modifyValue(registers, group, 0, text("b"), at(3))).toBeUndefined();
  expect(deleteValue(registers, group, 0, at(3))).toBeUndefined();
  expect(modifyValue(registers, group, 1, text("b"), at(3))).toBeUndefined();
  expect(deleteValues(registers, group, at(3))).toBe(registers);
});

test("a single value is set, set again, deleted and set again in one register", () => {
  const first = setValue([], mask, integer(mask.tag, 1), at(1));
  const second = setValue(first?.registers ?? [], mask, integer(mask.tag, 2), at(2, "b"));
  const gone = deleteValue(second?.registers ?? [], mask, 0, at(3));
  const last = setValue(gone?.registers ?? [], mask, integer(mask.tag, 4), at(4));
  expect(last?.registers).toEqual([
    { ...mask, index: 0, origin: "", value: integer(mask.tag, 4), stamp: at(4) },
  ]);
});

test("set replaces the first value of an attribute that has several", () => {
  const registers = deleteValue(added([], "a", "b", "c"), group, 0, at(2))?.registers ?? [];
  expect(texts(setValue(registers, group, text("B"), at(3))?.registers ?? [])).toEqual([
    [1, "B"],
    [2, "c"],
  ]);
  const gone = deleteValues(registers, group, at(3));
  expect(texts(setValue(gone, group, text("A"), at(4))?.registers ?? [])).toEqual([[0, "A"]]);
});

describe("values that two writers of one region added at the same index", () => {
  /** What a join makes of two copies that had no value yet. */
  const both = (one: string, other: string) => [
    ...(addValue([], group, text(one), by(1, "a1"))?.registers ?? []),
    ...(addValue([], group, text(other), by(1, "a2"))?.registers ?? []),
  ];
  const second = 1 << 20;

  test("have an index each, which stays when the other value is deleted", () => {
    const registers = both("x", "y");
    expect(texts(registers)).toEqual([
      [0, "x"],
      [second, "y"],
    ]);
    const modified = modifyValue(registers, group, second, text("z"), by(2))?.registers ?? [];
    expect(texts(modified)).toEqual([
      [0, "x"],
      [second, "z"],
    ]);
    const left = deleteValue(modified, group, 0, by(3))?.registers ?? [];
    expect(texts(left)).toEqual([[second, "z"]]);
    expect(texts(added(left, "more"))).toEqual([
      [second, "z"],
      [1, "more"],
    ]);
    expect(texts(deleteValue(left, group, second, by(4))?.registers ?? [])).toEqual([]);
  });

  test("count as one value if they are equal: modified and deleted as one", () => {
    const registers = both("x", "x");
    expect(texts(registers)).toEqual([[0, "x"]]);
    expect(texts(modifyValue(registers, group, 0, text("y"), by(2))?.registers ?? [])).toEqual([
      [0, "y"],
    ]);
    expect(texts(deleteValue(registers, group, 0, by(2))?.registers ?? [])).toEqual([]);
    const alike = modifyValue(both("x", "y"), group, second, text("x"), by(2))?.registers ?? [];
    expect(texts(alike)).toEqual([[second, "x"]]);
  });
});

test("no two values have the same origin, even from different starts of a process", () => {
  const writers = Array.from({ length: 100 }, () => new Writer({ randomBytes }));
  const origins = writers.flatMap((writer) => [writer.next(), writer.next(), writer.next()]);
  expect(new Set(origins).size).toBe(300);
});

describe("stamps", () => {
  test.each([
    [5, 9, 9],
    [9, 5, 10],
    [9, 9, 10],
  ])("of a write over %i at %i are %i", (old, now, expected) => {
    const registers = setValue([], mask, integer(mask.tag, 1), at(old))?.registers ?? [];
    const stamp = at(expected, "b");
    const value = integer(mask.tag, 2);
    expect(setValue(registers, mask, value, at(now, "b"))?.register.stamp).toEqual(stamp);
    expect(modifyValue(registers, mask, 0, value, at(now, "b"))?.register.stamp).toEqual(stamp);
    expect(deleteValue(registers, mask, 0, at(now, "b"))?.register.stamp).toEqual(stamp);
    expect(deleteValues(registers, mask, at(now, "b"))[0]?.stamp).toEqual(stamp);
  });
});

test("an object has a limit of registers, deleted values included", () => {
  const full = added([], ...Array.from({ length: registersMax }, (_, index) => `${index}`));
  expect(full).toHaveLength(registersMax);
  expect(addValue(full, group, text("one more"), by(2))).toBeUndefined();
  expect(setValue(full, mask, integer(mask.tag, 1), at(2))).toBeUndefined();
  const emptied = deleteValues(full, group, at(2));
  expect(addValue(emptied, group, text("one more"), by(3))).toBeUndefined();
  expect(modifyValue(full, group, 0, text("x"), at(2))?.registers).toHaveLength(registersMax);
});

test("plannedDates reads the four dates", () => {
  const tags = [0x420001, 0x42002f, 0x420067, 0x420068];
  const registers = tags.reduce<readonly Register[]>(
    (before, tag, index) =>
      setValue(before, { tag, key: "" }, dateTime(tag, BigInt(index + 1)), at(1))?.registers ?? [],
    [],
  );
  expect(plannedDates(registers)).toEqual({
    activation: 1,
    deactivation: 2,
    processStart: 3,
    protectStop: 4,
  });
  expect(plannedDates(deleteValues(registers, { tag: 0x420001, key: "" }, at(2)))).toEqual({
    deactivation: 2,
    processStart: 3,
    protectStop: 4,
  });
  expect(plannedDates([])).toEqual({});
});

test(`in any sequence, registers stay in order, none vanishes, no index is reused, stamps grow (seed ${seed})`, () => {
  const step = fc.record({
    kind: fc.constantFrom("add", "modify", "delete", "deleteAll", "set"),
    index: fc.nat({ max: 4 }),
    us: fc.nat({ max: 20 }),
    region: fc.constantFrom("a", "b"),
    value: fc.string({ maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      let registers: readonly Register[] = [];
      let next = 0;
      for (const { kind, index, us, region, value } of steps) {
        const now = by(us, region, region);
        const before = registers;
        switch (kind) {
          case "add": {
            const written = addValue(before, group, text(value), now);
            expect(written?.register.index).toBe(next);
            next += 1;
            registers = written?.registers ?? before;
            break;
          }
          case "modify":
            registers = modifyValue(before, group, index, text(value), now)?.registers ?? before;
            break;
          case "delete":
            registers = deleteValue(before, group, index, now)?.registers ?? before;
            break;
          case "deleteAll":
            registers = deleteValues(before, group, now);
            break;
          case "set":
            registers = setValue(before, mask, integer(mask.tag, us), now)?.registers ?? before;
        }
        check(before, registers);
      }
    }),
    { seed, numRuns: 300 },
  );

  function check(before: readonly Register[], after: readonly Register[]): void {
    const identity = (r: Register) => `${r.tag} ${r.index.toString().padStart(4, "0")} ${r.origin}`;
    const ids = after.map(identity);
    expect(ids).toEqual([...new Set(ids)].toSorted());
    for (const old of before) {
      const now = after.find((register) => identity(register) === identity(old));
      if (now !== old) expect(now?.stamp.us).toBeGreaterThan(old.stamp.us);
    }
  }
});
