import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sampleObject } from "../testing/conformance/managed-object-conformance.ts";
import {
  deactivatedDirectly,
  delayedAnew,
  destroyed,
  destroyedFinally,
  due,
  dueSurely,
  hasPassed,
  isDestroyed,
  type LifecycleEvent,
  pendingDestruction,
  requireState,
  restored,
  revokeEvent,
  type State,
  stateOf,
  stateValues,
  transition,
} from "./lifecycle.ts";
import type { Destruction, Facts } from "./record.ts";

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

/** A destruction with a delay from 10 to 110. */
const pending = { ...at(10), state: "pending", until: 110, us: 10_000_000 } as const;
const takenBack = { ...at(15), state: "restored", until: 110, us: 15_000_000 } as const;

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
    [{ activated: at(1), destruction: pending }, "Destroyed"],
    [{ compromised: at(1), destruction: pending }, "DestroyedCompromised"],
    [{ activated: at(1), destruction: takenBack }, "Active"],
    [{ destroyed: at(1), destruction: takenBack }, "Destroyed"],
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
    ["one that may be restored", { destruction: pending }, 99, { destruction: pending }],
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

  test.each<[string, State, Facts, boolean]>([
    ["one that may be restored is Destroyed", "Destroyed", { destruction: pending }, true],
    ["a Destroyed one may be restored since", "Destroyed", { destruction: takenBack }, true],
    [
      "a restore takes no compromise back",
      "DestroyedCompromised",
      { compromised: at(2), destruction: takenBack },
      true,
    ],
    ["... so it must be there", "DestroyedCompromised", { destruction: takenBack }, false],
    ["a destruction stands for no other fact", "Active", { destruction: pending }, false],
  ])("with a delay: %s", (_rule, last, facts, isTaken) => {
    const require = () => requireState({ ...sampleObject("instance", "id"), facts }, last);
    if (isTaken) expect(require).not.toThrow();
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

describe("destroyed", () => {
  const now = { time: 20, region: "b", us: 20_000_000 };
  const fact = { time: 20, region: "b" };
  const until120 = { ...fact, state: "pending", until: 120, us: 20_000_000 } as const;
  const { Active, Deactivated, Compromised, Destroyed } = examples;
  const atOnce = { delaySeconds: 0, hasState: true };
  const later = { delaySeconds: 100, hasState: true };
  const stateless = { delaySeconds: 0, hasState: false };
  const statelessLater = { delaySeconds: 100, hasState: false };

  type How = Parameters<typeof destroyed>[2];
  test.each<[string, Facts, How, Facts]>([
    ["without a delay it is final at once", {}, atOnce, { destroyed: fact }],
    ["with a delay it may be restored until that is over", {}, later, { destruction: until120 }],
    ["it adds to what is known", Deactivated, later, { ...Deactivated, destruction: until120 }],
    [
      "a compromised object stays so",
      Compromised,
      later,
      { ...Compromised, destruction: until120 },
    ],
    [
      "facts do not stop it where there is no State",
      Active,
      stateless,
      { ...Active, destroyed: fact },
    ],
    ["... with a delay too", Active, statelessLater, { ...Active, destruction: until120 }],
    [
      "a restored object is destroyed again",
      { destruction: takenBack },
      later,
      { destruction: until120 },
    ],
    [
      "it is the later write, although the clock of the restore was ahead",
      { destruction: { ...takenBack, us: 30_000_000 } },
      later,
      { destruction: { ...until120, us: 30_000_001 } },
    ],
    [
      "a restored object is destroyed for good",
      { destruction: takenBack },
      atOnce,
      { destruction: takenBack, destroyed: fact },
    ],
  ])("%s", (_rule, before, how, facts) => {
    const state = stateOf(facts);
    expect(destroyed(before, now, how)).toEqual({ kind: "changed", state, facts });
  });

  test.each<[string, Facts, How]>([
    ["an Active object", Active, atOnce],
    ["an Active object, with a delay", Active, later],
    ["one that is destroyed for good", Destroyed, atOnce],
    ["one that is destroyed for good, with a delay", Destroyed, later],
    ["one without a State that is destroyed for good", Destroyed, stateless],
    ["one that may be restored", { destruction: pending }, later],
    ["one that may be restored, without a delay", { destruction: pending }, atOnce],
    ["one without a State that may be restored", { destruction: pending }, statelessLater],
  ])("refuses %s", (_what, facts, how) => {
    expect(destroyed(facts, now, how)).toEqual({ kind: "refused", state: stateOf(facts) });
  });
});

describe("a destruction with a delay", () => {
  const compromised = at(12);
  /** What is destroyed for good keeps its destruction with a delay. */
  const final: Facts = { destroyed: at(10), destruction: pending };

  test.each<[string, Facts, boolean, Destruction | undefined]>([
    ["nothing is", {}, false, undefined],
    ["a pending one is for clients, and is not final", { destruction: pending }, true, pending],
    ["a restored object is not", { destruction: takenBack }, false, undefined],
    ["what has no delay is for good", { destroyed: at(10) }, true, undefined],
    ["what had a delay is for good afterwards", final, true, undefined],
    [
      "no restore takes back what is for good",
      { destroyed: at(10), destruction: takenBack },
      true,
      undefined,
    ],
  ])("is destroyed: %s", (_rule, facts, isSo, open) => {
    expect(isDestroyed(facts)).toBe(isSo);
    expect(pendingDestruction(facts)).toBe(open);
  });

  test.each<[string, Facts, number, Facts | "same"]>([
    ["it says when and where", { destruction: pending }, 15_000_000, { destruction: takenBack }],
    [
      "it is the later write, although the clock of Destroy was ahead",
      { destruction: pending },
      9_000_000,
      { destruction: { ...takenBack, us: 10_000_001 } },
    ],
    [
      "... or the same",
      { destruction: pending },
      10_000_000,
      { destruction: { ...takenBack, us: 10_000_001 } },
    ],
    [
      "a compromise meanwhile stays",
      { compromised, destruction: pending },
      15_000_000,
      { compromised, destruction: takenBack },
    ],
    ["what was never destroyed stays", {}, 15_000_000, "same"],
    ["what is restored stays", { destruction: takenBack }, 16_000_000, "same"],
    ["what is destroyed for good stays", final, 15_000_000, "same"],
  ])("restored: %s", (_rule, facts, us, expected) => {
    const result = restored(facts, { ...at(15), us });
    if (expected === "same") expect(result).toBe(facts);
    else expect(result).toEqual(expected);
  });

  test.each<[string, Facts, number, Facts | "same"]>([
    ["not a second before the delay is over", { destruction: pending }, 109, "same"],
    ["with the date and region of Destroy", { destruction: pending }, 110, final],
    ["whenever that is seen", { destruction: pending }, 999, final],
    [
      "a compromise meanwhile stays",
      { compromised, destruction: pending },
      110,
      { compromised, ...final },
    ],
    ["what was never destroyed stays", {}, 999, "same"],
    ["what is restored stays", { destruction: takenBack }, 999, "same"],
    ["what is final keeps its first date", { ...final, destroyed: at(3) }, 999, "same"],
  ])("is made final: %s", (_rule, facts, nowSeconds, expected) => {
    const result = destroyedFinally(facts, nowSeconds);
    if (expected === "same") expect(result).toBe(facts);
    else expect(result).toEqual(expected);
  });

  const again = (until: number) => ({ destruction: { ...pending, until, us: 10_000_001 } });
  test.each<[string, Facts, number, Facts | "same"]>([
    ["after its end it has the whole delay again", { destruction: pending }, 500, again(600)],
    ["before its end too, with the next stamp", { destruction: pending }, 11, again(111)],
    [
      "other facts stay",
      { compromised, destruction: pending },
      500,
      { compromised, ...again(600) },
    ],
    ["at the time of Destroy nothing is new", { destruction: pending }, 10, "same"],
    ["a clock that is behind does not shorten it", { destruction: pending }, 9, "same"],
    [
      "one that ends before it began has no delay, and ends in no past",
      { destruction: { ...pending, until: 5 } },
      50,
      again(50),
    ],
    ["what was never destroyed stays", {}, 500, "same"],
    ["what is restored stays", { destruction: takenBack }, 500, "same"],
    ["what is destroyed for good stays", final, 500, "same"],
  ])("begins anew: %s", (_rule, facts, nowSeconds, expected) => {
    const result = delayedAnew(facts, nowSeconds);
    if (expected === "same") expect(result).toBe(facts);
    else expect(result).toEqual(expected);
  });
});

describe("an object that cannot become Active", () => {
  const revocation = { ...at(9), reasonCode: 1, message: "over" };

  test.each<[string, Facts]>([
    ["without an activation", { served: at(1) }],
    ["a type that had a State before, and was Active", examples.Active],
    ["once it is restored", { destruction: takenBack }],
  ])("is deactivated, with its reason: %s", (_rule, facts) => {
    expect(deactivatedDirectly(facts, revocation)).toEqual({
      kind: "changed",
      state: "Deactivated",
      facts: { ...facts, deactivated: revocation },
    });
  });

  test.each<[string, Facts]>([
    ["a second time", examples.Deactivated],
    ["after a compromise", examples.Compromised],
    ["once it is destroyed for good", examples.Destroyed],
    ["while it may be restored", { destruction: pending }],
  ])("is not deactivated %s", (_rule, facts) => {
    expect(deactivatedDirectly(facts, revocation)).toEqual({
      kind: "refused",
      state: stateOf(facts),
    });
  });
});
