import { describe, expect, test } from "vitest";
import { calm } from "./calm.ts";
import { type Circumstances, History, type ViolationKind } from "./history.ts";
import { Intervals } from "./intervals.ts";
import type { Moment } from "./moment.ts";

/** Changes from 0 to 100 are shared; later ones may be alone. */
const early: Circumstances = { ...calm, shared: (_, toMs) => toMs <= 100 };

function at(node: string, beganMs: number): Moment {
  const region = node.startsWith("a") ? "a" : "b";
  return { node, region, beganMs, endedMs: beganMs + 1 };
}

function during(fromMs: number, toMs: number): Intervals {
  const intervals = new Intervals();
  intervals.add(fromMs, toMs);
  return intervals;
}

type Play = (history: History) => void;

/** A key of region a that is made at a given time, and active from 10 ms later. */
function active(history: History, madeMs = 10) {
  const entry = history.created("k", at("a1", madeMs));
  entry.tried = 1;
  history.reached(entry, 1, at("a1", madeMs + 10));
  return entry;
}

const cases: readonly [string, Play, Partial<Circumstances>, readonly ViolationKind[]][] = [
  ["nothing wrong", (h) => h.sawState(active(h), 1, at("b1", 30)), {}, []],
  ["an identifier given twice", (h) => [active(h), active(h)], {}, ["wrongAnswer"]],
  [
    "a shared state that the other region does not show",
    (h) => h.sawState(active(h), 0, at("b1", 30)),
    {},
    ["backwardsShared"],
  ],
  [
    "an alone state that the other region does not show",
    (h) => h.sawState(active(h, 200), 0, at("b1", 230)),
    {},
    [],
  ],
  [
    "an alone state that the same region does not show",
    (h) => h.sawState(active(h, 200), 0, at("a2", 230)),
    {},
    ["backwardsInStore"],
  ],
  [
    "the same, while its nodes may have served from the other store",
    (h) => h.sawState(active(h, 200), 0, at("a2", 230)),
    { disturbed: { a: during(220, 225), b: new Intervals() } },
    [],
  ],
  ["a read that began before", (h) => h.sawState(active(h), 0, at("b1", 15)), {}, []],
  [
    "a state that was shown, not acknowledged, and is shown no longer",
    (h) => {
      const entry = h.created("k", at("a1", 200));
      entry.tried = 1;
      h.sawState(entry, 1, at("a1", 210));
      h.sawState(entry, 0, at("a2", 220));
    },
    {},
    ["backwardsInStore"],
  ],
  ["a state never asked for", (h) => h.sawState(active(h), 3, at("a1", 30)), {}, ["wrongAnswer"]],
  [
    "destroyed without a Destroy",
    (h) => h.sawState(active(h), 4, at("a1", 30)),
    {},
    ["destroyedWithoutAgreement"],
  ],
  [
    "destroyed during a cut",
    (h) => h.reached(active(h), 4, at("a1", 130)),
    { isolated: during(120, 140) },
    ["destroyedWithoutAgreement"],
  ],
  [
    "a Destroy in progress when the cut began",
    (h) => h.reached(active(h), 4, at("a1", 119)),
    { isolated: during(119.5, 140) },
    [],
  ],
  [
    "readable after its Destroy",
    (h) => {
      const entry = active(h);
      h.reached(entry, 4, at("a1", 30));
      h.sawBytes(entry, "01", at("b1", 40));
    },
    {},
    ["readAfterDestroy"],
  ],
  [
    "other bytes",
    (h) => {
      const entry = active(h);
      h.sawBytes(entry, "01", at("a1", 30));
      h.sawBytes(entry, "02", at("b1", 40));
    },
    {},
    ["changedBytes"],
  ],
  ["not found", (h) => h.notFound(active(h, 200), at("b1", 230), false), {}, ["wrongNotFound"]],
  ["not found in the end", (h) => h.notFound(active(h), at("b1", 30), true), {}, ["missing"]],
  [
    "gone with the only store that had it",
    (h) => h.notFound(active(h, 200), at("b1", 230), true),
    { emptied: { a: [220], b: [] } },
    [],
  ],
  [
    "gone with the store of the other region, which never had it",
    (h) => h.notFound(active(h, 200), at("b1", 230), true),
    { emptied: { a: [], b: [220] } },
    ["missing"],
  ],
  [
    "the same, while its node may have used that store",
    (h) => h.notFound(active(h, 200), at("b1", 230), true),
    { emptied: { a: [], b: [220] }, disturbed: { a: during(199, 205), b: new Intervals() } },
    [],
  ],
  [
    "gone with one of two stores that had it",
    (h) => h.notFound(active(h), at("b1", 230), true),
    { emptied: { a: [220], b: [] } },
    ["missing"],
  ],
];

describe("contradictions are found in a history with", () => {
  test.each(cases)("%s", (_, play, circumstances, expected) => {
    const history = new History();
    play(history);
    const found = history.judge({ ...early, ...circumstances });
    expect(found.map(({ kind }) => kind)).toEqual(expected);
  });
});

test("a history counts changes as certainly shared, or perhaps alone", () => {
  const history = new History();
  history.created("k", at("a1", 10));
  history.created("l", at("a1", 99.5));
  history.changed(at("b1", 300));
  expect(history.acknowledged(early)).toEqual({ shared: 1, alone: 2 });
});
