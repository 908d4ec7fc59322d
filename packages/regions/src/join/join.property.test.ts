import { randomBytes } from "node:crypto";
import {
  addValue,
  currentValues,
  type Destruction,
  decodeRecord,
  deleteValue,
  encodeRecord,
  type ManagedObject,
  modifyValue,
  type State,
  stateOf,
  tagOf,
  Writer,
} from "@holdfast/engine";
import { anyManagedObject, groupItem, sampleObject } from "@holdfast/engine/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clockAhead, join, joinAll, settled, storedOf } from "./join.ts";

const run = { seed: 20_261_125, numRuns: 300 };

/** Copies of one record: what never changes is the same in all. */
const copies = fc.tuple(anyManagedObject, anyManagedObject, anyManagedObject).map((three) => {
  const [first] = three;
  return three.map((copy): ManagedObject => {
    const { instance, objectType, fixed, material } = first;
    const uniqueIdentifier = "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00";
    const same = { ...copy, uniqueIdentifier, instance, objectType, fixed, material };
    return settled(same);
  }) as [ManagedObject, ManagedObject, ManagedObject];
});

/** Copies that share registers and facts, as copies of one record do. */
const kin = copies.chain(([a, b, c]) =>
  fc.tuple(fc.shuffledSubarray([...a.registers]), fc.boolean(), fc.boolean()).map((chosen) => {
    const [registers, facts, later] = chosen;
    const shared = {
      ...b,
      registers: registers.map((register, at) => ({
        ...register,
        value: at % 2 === 0 ? register.value : undefined,
        stamp: { ...register.stamp, us: later ? register.stamp.us : a.lastChange ** 2 % 1_000 },
      })),
      facts: facts ? { ...a.facts, ...b.facts } : b.facts,
    };
    return [a, settled(shared), c] as const;
  }),
);

function joined(...given: readonly ManagedObject[]): ManagedObject {
  const outcome = joinAll(given);
  if (outcome?.kind !== "joined") throw new Error(outcome?.reason ?? "nothing to join");
  return outcome.object;
}

function tag(object: ManagedObject): string {
  return tagOf(encodeRecord(object));
}

const order: readonly State[] = [
  "PreActive",
  "Active",
  "Deactivated",
  "Compromised",
  "Destroyed",
  "DestroyedCompromised",
];

describe.each([
  ["any copies", copies],
  ["copies that share much", kin],
] as const)("the join of %s", (_, arbitrary) => {
  const holds = (body: (a: ManagedObject, b: ManagedObject, c: ManagedObject) => void) =>
    fc.assert(
      fc.property(arbitrary, ([a, b, c]) => {
        body(a, b, c);
      }),
      run,
    );

  test("does not depend on order: the same bytes, the same tag", () => {
    holds((a, b, c) => {
      expect(tag(joined(a, b))).toBe(tag(joined(b, a)));
      expect(tag(joined(joined(a, b), c))).toBe(tag(joined(a, joined(b, c))));
      expect(tag(joined(c, a, b))).toBe(tag(joined(a, b, c)));
    });
  });

  test("with itself, or with a copy that it was made of, changes nothing", () => {
    holds((a, b) => {
      expect(tag(joined(a, a))).toBe(tag(a));
      expect(tag(joined(joined(a, b), a))).toBe(tag(joined(a, b)));
      expect(tag(joined(joined(a, b), b))).toBe(tag(joined(a, b)));
    });
  });

  test("is the same whether the bytes of the copies are known or not", () => {
    const known = (object: ManagedObject) => decodeRecord(encodeRecord({ ...object }));
    holds((a, b) => {
      const both = tag(joined(a, b));
      expect(tag(joined(known(a), known(b)))).toBe(both);
      expect(tag(joined(known(a), known(a)))).toBe(tag(joined(a, { ...a })));
      expect(tag(joined(known(joined(a, b)), known(b)))).toBe(both);
    });
  });

  test("never takes back a state, a fact or a date", () => {
    holds((a, b) => {
      const both = joined(a, b);
      for (const one of [a, b]) {
        // A restore takes a destruction back that is not final; that is no fact.
        const { destruction, ...facts } = one.facts;
        expect(order.indexOf(stateOf(both.facts))).toBeGreaterThanOrEqual(
          order.indexOf(stateOf(facts)),
        );
        const written = (given: typeof destruction) => given?.us ?? Number.NEGATIVE_INFINITY;
        expect(written(both.facts.destruction)).toBeGreaterThanOrEqual(written(destruction));
        for (const [name, fact] of Object.entries(facts)) {
          const left = both.facts[name as keyof ManagedObject["facts"]];
          expect(left?.time).toBeLessThanOrEqual(fact.time);
        }
        expect(both.lastChange).toBeGreaterThanOrEqual(one.lastChange);
        expect(both.registers.length).toBeGreaterThanOrEqual(one.registers.length);
      }
    });
  });

  test("of two destructions with a delay the last write counts; of two at one time a restore", () => {
    const at = { time: 1, region: "a", until: 9, us: 5 } as const;
    holds((a) => {
      const { destruction: _, destroyed: __, ...facts } = a.facts;
      const given = (destruction: Destruction) => ({ ...a, facts: { ...facts, destruction } });
      const pending = given({ ...at, state: "pending" });
      const restored = given({ ...at, state: "restored" });
      const later = given({ ...at, state: "pending", us: 6 });
      expect(joined(pending, restored).facts.destruction?.state).toBe("restored");
      expect(joined(restored, later).facts.destruction?.state).toBe("pending");
      expect(joined(pending, a).material).toEqual(settled(a).material);
    });
  });

  test("never gives a destroyed copy its material back", () => {
    holds((a, b, c) => {
      const destroyed = settled({
        ...b,
        facts: { ...b.facts, destroyed: { time: 1, region: "b" } },
      });
      expect(joined(a, destroyed).material).toBeUndefined();
      expect(joined(joined(a, destroyed), c).material).toBeUndefined();
      // Also where a peer sends a destroyed record that has material.
      expect(joined({ ...destroyed, material: a.material }).material).toBeUndefined();
    });
  });
});

const sealed = {
  kekId: "0f8fad5b-d9cb-469f-a165-70867728950e",
  nonce: new Uint8Array(12).fill(1),
  ciphertext: new Uint8Array(32),
};
const base = {
  ...sampleObject("instance", "00000000-0000-4000-8000-000000000001"),
  fixed: [groupItem("one"), groupItem("two")],
  material: sealed,
};

test("the earliest fact wins with its details; ties go by region, then by bytes", () => {
  const revoked = (time: number, region: string, message: string) => ({
    ...base,
    facts: { deactivated: { time, region, message, reasonCode: 1, occurred: 5 } },
  });
  const why = (...given: readonly ManagedObject[]) => joined(...given).facts.deactivated?.message;
  expect(why(revoked(2, "a", "late"), revoked(1, "b", "early"))).toBe("early");
  expect(why(revoked(1, "b", "of b"), revoked(1, "a", "of a"))).toBe("of a");
  expect(why(revoked(1, "a", "y"), revoked(1, "a", "x"))).toBe(
    why(revoked(1, "a", "x"), revoked(1, "a", "y")),
  );
  const early = joined(revoked(2, "a", "late"), revoked(1, "b", "early")).facts.deactivated;
  expect(early).toEqual({ time: 1, region: "b", message: "early", reasonCode: 1, occurred: 5 });
});

test("the last writer of a register wins, a deletion too; another origin is another register", () => {
  const register = { tag: 0x420056, index: 0, origin: "a", key: "" } as const;
  const value = (text: string) => ({ tag: 0x420056, type: 7, value: text }) as const;
  const having = (...registers: ManagedObject["registers"]) => ({ ...base, registers });
  const first = having({ ...register, value: value("first"), stamp: { us: 1, region: "a" } });
  const deleted = having({ ...register, value: undefined, stamp: { us: 2, region: "b" } });
  const other = having({
    ...register,
    origin: "b",
    value: value("other"),
    stamp: { us: 1, region: "b" },
  });
  expect(joined(first, deleted).registers).toEqual(deleted.registers);
  expect(joined(first, other).registers).toHaveLength(2);
  const tied = having({ ...register, value: value("b's"), stamp: { us: 1, region: "b" } });
  expect(joined(first, tied).registers).toEqual(tied.registers);
  const tie = (region: string) =>
    having({ ...register, value: value(`${region}'s`), stamp: { us: 1, region } });
  const [longer, last] = [tie("aa"), tie("z")];
  expect(joined(longer, last).registers).toEqual(last.registers);
  expect(joined(last, longer).registers).toEqual(last.registers);
  // Of two writes of one region at one moment, the same one wins in both orders.
  const same = having({ ...register, value: value("second"), stamp: { us: 1, region: "a" } });
  expect(joined(first, same).registers).toEqual(joined(same, first).registers);
});

test("copies that are alike are joined without a new object, and only what must go is removed", () => {
  const known = () => decodeRecord(encodeRecord(base));
  const one = known();
  const fresh = { ...base };
  expect(joined(fresh, fresh)).toBe(fresh);
  expect(joined(one, known())).toBe(one);
  const destroyed = { ...base, facts: { destroyed: { time: 1, region: "a" } } };
  const gone = { ...destroyed, material: undefined };
  expect(settled(gone)).toBe(gone);
  expect(settled(destroyed)).toEqual(gone);
  expect(storedOf(base)).toEqual({ object: base, tag: tag(base) });
});

test("no copies have no join, and a conflict stays one", () => {
  expect(joinAll([])).toBeUndefined();
  const outcome = joinAll([base, { ...base, objectType: 4 }, base]);
  expect(outcome?.kind).toBe("conflict");
});

test("a copy that no region makes is a conflict, the only one or any of several", () => {
  const wrong = { ...base, uniqueIdentifier: "key" };
  const conflict = { kind: "conflict", reason: "malformed identifier" };
  for (const given of [[wrong], [wrong, base], [base, wrong]]) {
    expect(joinAll(given)).toEqual(conflict);
  }
});

test("of two destructions that are alike but for the end of the delay, the later end counts", () => {
  const ending = (until: number) => {
    const destruction = { time: 1, region: "a", state: "pending", until, us: 5 } as const;
    return { ...base, facts: { destruction } };
  };
  for (const given of [
    [ending(8), ending(9)],
    [ending(9), ending(8)],
  ]) {
    expect(joined(...given).facts.destruction?.until).toBe(9);
  }
});

/** A change of Object Groups by one of two nodes of a region. */
const groupChange = fc.record({
  kind: fc.constantFrom("add", "add", "modify", "delete"),
  text: fc.constantFrom("u", "v", "w"),
  at: fc.nat({ max: 2 }),
});
const group = { tag: 0x420056, key: "" };

/** A copy after changes by a writer. */
function changed(
  copy: ManagedObject,
  writer: string,
  changes: readonly { kind: string; text: string; at: number }[],
): ManagedObject {
  let { registers } = copy;
  for (const [step, { kind, text, at }] of changes.entries()) {
    const now = { us: step, region: "a", origin: `${writer} ${step}` };
    // Texts name their writer, so that a lost value is not hidden by an equal one.
    const value = { tag: group.tag, type: 7, value: `${writer} ${text}${step}` } as const;
    const { index = -1 } = currentValues(registers, group)[at] ?? {};
    if (kind === "add") registers = addValue(registers, group, value, now)?.registers ?? registers;
    if (kind === "modify")
      registers = modifyValue(registers, group, index, value, now)?.registers ?? registers;
    if (kind === "delete")
      registers = deleteValue(registers, group, index, now)?.registers ?? registers;
  }
  return { ...copy, registers };
}

const textsOf = ({ registers }: ManagedObject) =>
  currentValues(registers, group).map(({ value }) => String(value.value));

test("one process that adds a value in each of two stores, which do not know each other's, loses neither value", () => {
  const writer = new Writer({ randomBytes });
  const [a, b] = ["x", "y"].map((text) => {
    const value = { tag: group.tag, type: 7, value: text } as const;
    const now = { us: 1, region: "a", origin: writer.next() };
    return { ...base, registers: addValue([], group, value, now)?.registers ?? [] };
  });
  expect(textsOf(joined(a ?? base, b ?? base)).toSorted()).toEqual(["x", "y"]);
});

test("two writers of one region that write to two stores lose nothing to each other", () => {
  const changes = fc.array(groupChange, { maxLength: 8 });
  fc.assert(
    fc.property(changes, changes, changes, (first, one, other) => {
      const before = changed({ ...base, registers: [] }, "a1", first);
      const [a, b] = [changed(before, "a1 again", one), changed(before, "a2", other)];
      const both = joined(a, b);
      expect(tag(joined(b, a))).toBe(tag(both));
      expect(tag(joined(both, a))).toBe(tag(both));
      expect(tag(joined(joined(a, before), b))).toBe(tag(joined(a, joined(before, b))));
      // What each of them added, the other one did not know and cannot have deleted.
      const known = before.registers.map(({ index, origin }) => `${index} ${origin}`);
      for (const { register, value } of [a, b].flatMap(({ registers }) =>
        currentValues(registers, group),
      )) {
        if (known.includes(`${register.index} ${register.origin}`)) continue;
        expect(textsOf(both)).toContain(String(value.value));
      }
      const indexes = currentValues(both.registers, group).map(({ index }) => index);
      expect(new Set(indexes).size).toBe(indexes.length);
    }),
    run,
  );
});

test.each<[string, Partial<ManagedObject>]>([
  ["identifier", { uniqueIdentifier: "00000000-0000-4000-8000-000000000002" }],
  ["instance", { instance: "other" }],
  ["object type", { objectType: 4 }],
  ["fixed", { fixed: [] }],
  ["fixed", { fixed: base.fixed.map((item, at) => (at === 0 ? groupItem("other") : item)) }],
  ["material", { material: { ...sealed, kekId: "k" } }],
  ["material", { material: { ...sealed, nonce: new Uint8Array(12) } }],
  ["material", { material: { ...sealed, ciphertext: new Uint8Array() } }],
  ["material", { material: undefined }],
])("the join chooses neither of two copies with a different %s", (name, part) => {
  for (const outcome of [join(base, { ...base, ...part }), join({ ...base, ...part }, base)]) {
    expect(outcome.kind).toBe("conflict");
    expect(outcome.kind === "conflict" && outcome.reason).toContain(name);
  }
});

test("a stamp ahead of the clock is reported with the region that wrote it", () => {
  const stamped = (...stamps: readonly { us: number; region: string }[]) => ({
    ...base,
    registers: stamps.map((stamp, index) => ({
      ...{ tag: 1, index, origin: "", key: "", value: undefined },
      stamp,
    })),
  });
  const [b, c, d] = [
    { us: 15_000_000, region: "b" },
    { us: 14_000_000, region: "c" },
    { us: 15_000_000, region: "d" },
  ] as const;
  expect(clockAhead(stamped({ us: 11_000_000, region: "b" }), 10_000)).toBeUndefined();
  for (const stamps of [[b], [b, c], [c, b], [b, d]]) {
    expect(clockAhead(stamped(...stamps), 10_000)).toEqual({ region: "b", ms: 5_000 });
  }
});
