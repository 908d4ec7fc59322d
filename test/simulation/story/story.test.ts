import { describe, expect, test } from "vitest";
import { faults } from "../faults.ts";
import { runHistory } from "../history.ts";
import type { EventFields, EventKind, StoryEvent } from "./events.ts";
import { faultTellings } from "./fault-tellings.ts";
import { promises } from "./promises.ts";
import { chosen, storyText } from "./story.ts";
import { eventKinds, tell } from "./tellings.ts";

/** One of each kind; the compiler asks for a kind that is missing. */
const samples: { readonly [Kind in EventKind]: EventFields[Kind] } = {
  begin: { seed: 1, farMs: 4, replicas: 1, required: false, flaw: undefined },
  request: {
    node: "a1",
    wish: "create",
    key: "key 1",
    text: undefined,
    answer: { kind: "done" },
    regions: ["a", "b"],
  },
  serving: { node: "a1", from: "remote", writes: true, reason: "own store", again: false },
  peer: { node: "a1", region: "b", state: "down" },
  push: { node: "a1", records: 1, result: "alone" },
  join: { node: "a1", region: "b", result: "written" },
  agreement: { node: "a1", result: "agreed" },
  leader: { node: "a1", state: "leader", epoch: 2 },
  duty: { node: "a1", duty: "resync", cause: "no answer" },
  warning: { node: "a1", message: "the disk is slow" },
  fault: { name: "node killed", what: "a1" },
  faultOver: { name: "node killed", what: "a1" },
  storeLost: { region: "a", copy: false },
  promotion: { region: "a", process: "a:redis1" },
  healed: {},
  settled: {},
  checked: { answers: 8 },
  violation: { message: '"not found" for the create of rank 1' },
  end: { shared: 1, alone: 0, violation: undefined },
};

describe("every event is told", () => {
  test.each(eventKinds)("%s", (kind) => {
    const told = tell({ kind, ...samples[kind] } as StoryEvent);
    expect(told.who).toMatch(/\w/);
    expect(told.what).toMatch(/^\S.*[^.\s]$/);
    expect(`${told.what} ${told.why}`).not.toMatch(/undefined|\[object/);
    if (kind !== "end") expect(told.why).toMatch(/^[A-Z"].*\.$/);
    for (const place of told.places) expect(place).toMatch(/^[ab](\d|:redis\d|:sentinel)?$/);
  });

  test("no kind is without a sample", () => {
    expect(eventKinds.toSorted()).toEqual(Object.keys(samples).toSorted());
  });

  test("every fault of the simulation has words, and no other", () => {
    expect(Object.keys(faultTellings).toSorted()).toEqual(Object.keys(faults).toSorted());
  });
});

/** Seeds with a cut, a killed Redis, a full one and a store that is lost. */
const seeds = [3, 11];

test.each(seeds)("the story of seed %s is the same each time, and bounded", async (seed) => {
  const one = await runHistory(seed, { recorded: true });
  const other = await runHistory(seed, { recorded: true });
  const story = storyText(one.steps, 40);
  expect(storyText(other.steps, 40)).toEqual(story);
  expect(chosen(one.steps, 40)).toHaveLength(40);
  expect(story.length).toBe(40 + 3 + 1 + promises.length);
  // Whoever looks changes nothing.
  expect((await runHistory(seed)).digest).toBe(one.digest);
  // Identifiers have short names, and nothing was left out of a sentence.
  const all = storyText(one.steps, one.steps.length).join("\n");
  expect(all).not.toMatch(/[0-9a-f]{8}-|undefined|\[object/);
  expect(all).toContain("no promise was broken");
  expect(story.slice(-promises.length).join("\n")).not.toMatch(/^ *[1-9]/m);
});

test("a broken promise is told where it happens, with what led to it", async () => {
  const flaw = "Item Not Found on an unreachable peer";
  const { steps, failure } = await runHistory(4, {
    flaw,
    focus: "cut between the regions",
    recorded: true,
  });
  expect(failure).toBeDefined();
  const story = storyText(steps, 20);
  const at = story.findIndex((line) => line.includes("VIOLATION"));
  expect(story[at - 1]).toMatch(/is told "not found"/);
  expect(story[at + 1]).toMatch(/the history ends here/);
  const broken = steps.find(({ kind }) => kind === "violation");
  expect(broken?.breaks).toBe("not-found");
  const made = story.findIndex((line) => line.includes(`makes ${broken?.key} `));
  expect(made, story.join("\n")).toBeGreaterThan(0);
  expect(made).toBeLessThan(at);
  expect(story.slice(-promises.length).join("\n")).toMatch(/^ +1 {2}wrong answers "not found"/m);
});
