import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sampleObject } from "../testing/conformance/managed-object-conformance.ts";
import {
  due,
  dueSurely,
  hasPassed,
  type LifecycleEvent,
  requireState,
  revokeEvent,
  type State,
  stateOf,
  stateValues,
  transition,
} from "./lifecycle.ts";
import type { Facts } from "./record.ts";

const seed = 20260104;
const at = (time: number) => ({ time, region: "a" });
const events: readonly LifecycleEvent[] = ["activate", "deactivate", "compromise", "destroy"];
const states = Object.keys(stateValues) as readonly State[];

/** Facts that lead to each state. */
const examples: Readonly<Record<State, Facts>> = {
  PreActive: {},
  Active: { activated: at(1) },
  Deactivated: { activated: at(1), deactivated: at(2) },
  Compromised: { activated: at(1), compromised: at(2) },
  Destroyed: { destroyed: at(3) },
  DestroyedCompromised: { compromised: at(2), destroyed: at(3) },
};

describe("stateOf", () => {
  test.each<[Facts, State]>([
    [{}, "PreActive"],
    [{ served: at(1) }, "PreActive"],
    [{ activated: at(1), served: at(1) }, "Active"],
    [{ deactivated: at(1) }, "Deactivated"],
    [{ activated: at(9), deactivated: at(1) }, "Deactivated"],
    [{ compromised: at(1) }, "Compromised"],
    [{ activated: at(1), deactivated: at(2), compromised: at(3) }, "Compromised"],
    [{ destroyed: at(1) }, "Destroyed"],
    [{ activated: at(1), deactivated: at(2), destroyed: at(3) }, "Destroyed"],
    [{ destroyed: at(1), compromised: at(2) }, "DestroyedCompromised"],
  ])("%j is %s", (facts, state) => {
    expect(stateOf(facts)).toBe(state);
  });
});

describe("transition: every cell", () => {
  const cells: readonly [State, LifecycleEvent, State | "already" | "refused"][] = [
    ["PreActive", "activate", "Active"],
    ["PreActive", "deactivate", "refused"],
    ["PreActive", "compromise", "Compromised"],
    ["PreActive", "destroy", "Destroyed"],
    ["Active", "activate", "already"],
    ["Active", "deactivate", "Deactivated"],
    ["Active", "compromise", "Compromised"],
    ["Active", "destroy", "refused"],
    ["Deactivated", "activate", "refused"],
    ["Deactivated", "deactivate", "refused"],
    ["Deactivated", "compromise", "Compromised"],
    ["Deactivated", "destroy", "Destroyed"],
    ["Compromised", "activate", "refused"],
    ["Compromised", "deactivate", "refused"],
    ["Compromised", "compromise", "refused"],
    ["Compromised", "destroy", "DestroyedCompromised"],
    ["Destroyed", "activate", "refused"],
    ["Destroyed", "deactivate", "refused"],
    ["Destroyed", "compromise", "DestroyedCompromised"],
    ["Destroyed", "destroy", "refused"],
    ["DestroyedCompromised", "activate", "refused"],
    ["DestroyedCompromised", "deactivate", "refused"],
    ["DestroyedCompromised", "compromise", "refused"],
    ["DestroyedCompromised", "destroy", "refused"],
  ];
  test("the table is complete", () => {
    expect(cells.length).toBe(states.length * events.length);
  });

  test.each(cells)("in state %s, event %s gives: %s", (state, event, expected) => {
    const facts = examples[state];
    const result = transition(facts, event, at(9));
    if (expected === "already" || expected === "refused") {
      expect(result).toEqual({ kind: expected, state });
    } else {
      expect(result.kind).toBe("changed");
      expect(result.state).toBe(expected);
      expect(stateOf(result.kind === "changed" ? result.facts : {})).toBe(expected);
    }
  });

  test("a revocation keeps its reason", () => {
    const revocation = { ...at(9), reasonCode: 2, message: "lost", occurred: 3 };
    const result = transition(examples.Active, "compromise", revocation);
    expect(result.kind === "changed" && result.facts.compromised).toEqual(revocation);
  });
});

describe("with any sequence of events", () => {
  /** What may still follow each state. */
  const after: Readonly<Record<State, readonly State[]>> = {
    PreActive: states,
    Active: ["Active", "Deactivated", "Compromised", "Destroyed", "DestroyedCompromised"],
    Deactivated: ["Deactivated", "Compromised", "Destroyed", "DestroyedCompromised"],
    Compromised: ["Compromised", "DestroyedCompromised"],
    Destroyed: ["Destroyed", "DestroyedCompromised"],
    DestroyedCompromised: ["DestroyedCompromised"],
  };
  const time = fc.nat({ max: 100 });
  const step = fc.oneof(
    fc.record({ event: fc.constantFrom(...events), time }),
    fc.record({
      planned: fc.record({ activation: time, deactivation: time }, { requiredKeys: [] }),
      time,
    }),
  );

  function next(facts: Facts, taken: typeof step extends fc.Arbitrary<infer S> ? S : never): Facts {
    if ("planned" in taken) return due(facts, taken.planned, taken.time, "b");
    const result = transition(facts, taken.event, at(taken.time));
    return result.kind === "changed" ? result.facts : facts;
  }

  test(`facts only grow, and no state goes backwards (seed ${seed})`, () => {
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        let facts: Facts = {};
        for (const taken of steps) {
          const later = next(facts, taken);
          expect(later).toMatchObject(facts);
          expect(after[stateOf(facts)]).toContain(stateOf(later));
          facts = later;
        }
      }),
      { seed, numRuns: 500 },
    );
  });

  test(`a state does not depend on the order in which facts become known (seed ${seed})`, () => {
    const kinds = ["served", "activated", "deactivated", "compromised", "destroyed"] as const;
    fc.assert(
      fc.property(fc.shuffledSubarray([...kinds]), (known) => {
        const facts = Object.fromEntries(known.map((kind) => [kind, at(1)]));
        const reversed = Object.fromEntries(known.toReversed().map((kind) => [kind, at(2)]));
        expect(stateOf(facts)).toBe(stateOf(reversed));
        if (known.includes("destroyed")) expect(stateOf(facts)).toMatch(/^Destroyed/);
      }),
      { seed, numRuns: 300 },
    );
  });
});

describe("due", () => {
  const planned = { activation: 10, processStart: 15, protectStop: 25, deactivation: 30 };

  test.each<[string, Facts, number, Facts]>([
    ["before any date", {}, 9, {}],
    ["on the day", {}, 10, { activated: { time: 10, region: "b" } }],
    [
      "after both",
      {},
      99,
      { activated: { time: 10, region: "b" }, deactivated: { time: 30, region: "b" } },
    ],
    ["activated earlier", { activated: at(5) }, 20, { activated: at(5) }],
    [
      "deactivation only",
      { activated: at(5) },
      30,
      { activated: at(5), deactivated: { time: 30, region: "b" } },
    ],
    ["a compromised object", { compromised: at(5) }, 99, { compromised: at(5) }],
    ["a destroyed object", { destroyed: at(5) }, 99, { destroyed: at(5) }],
  ])("gives the expected facts: %s", (_name, facts, now, expected) => {
    const result = due(facts, planned, now, "b");
    expect(result).toEqual(expected);
    // The caller sees by identity that there is nothing to write.
    expect(result === facts).toBe(JSON.stringify(expected) === JSON.stringify(facts));
  });

  test("does not deactivate an object that was never active", () => {
    expect(due({}, { deactivation: 1 }, 99, "b")).toEqual({});
  });

  test("changes nothing the second time", () => {
    const once = due({}, planned, 99, "b");
    expect(due(once, planned, 99, "c")).toBe(once);
  });

  const doubt = { latestSeconds: 12, reason: "clocks differ" };
  test.each<[string, number, typeof doubt | undefined, Facts | "clockDoubt"]>([
    ["not come, clocks agree", 9, undefined, {}],
    ["come, clocks agree", 10, undefined, { activated: { time: 10, region: "b" } }],
    ["come by the latest clock only", 9, doubt, "clockDoubt"],
    ["come by both clocks", 11, doubt, "clockDoubt"],
    ["not come by the latest clock", 8, { ...doubt, latestSeconds: 9 }, {}],
  ])("decides surely a date that has %s", (_name, nowSeconds, known, expected) => {
    const decide = () => dueSurely({}, planned, { nowSeconds, doubt: known }, "b");
    if (expected === "clockDoubt") {
      expect(decide).toThrow(expect.objectContaining({ failure: expected, message: doubt.reason }));
    } else expect(decide()).toEqual(expected);
  });
});

describe("a copy that is offered for a damaged record", () => {
  const fits: Readonly<Record<State, readonly State[]>> = {
    PreActive: states,
    Active: ["Active", "Deactivated", "Compromised"],
    Deactivated: ["Deactivated"],
    Compromised: ["Compromised", "DestroyedCompromised"],
    Destroyed: ["Destroyed", "DestroyedCompromised"],
    DestroyedCompromised: ["DestroyedCompromised"],
  };
  const pairs = states.flatMap((last) => states.map((offered) => [last, offered] as const));

  test.each(pairs)("last %s, offered %s: it must have the facts of the last state", (last, of) => {
    const object = { ...sampleObject("instance", "id"), facts: examples[of] };
    const require = () => requireState(object, last);
    if (fits[last].includes(of)) expect(require).not.toThrow();
    else expect(require).toThrow(expect.objectContaining({ failure: "corrupt" }));
  });
});

test.each([
  [1, "deactivate"],
  [2, "compromise"],
  [3, "compromise"],
  [4, "deactivate"],
  [7, "deactivate"],
  [0x80000001, "deactivate"],
])("Revocation Reason Code %i means: %s", (reasonCode, event) => {
  expect(revokeEvent(reasonCode)).toBe(event);
});

test.each([
  [undefined, false],
  [11, false],
  [10, true],
  [9, true],
])("hasPassed(%s) at 10 is %s", (date, expected) => {
  expect(hasPassed(date, 10)).toBe(expected);
});
