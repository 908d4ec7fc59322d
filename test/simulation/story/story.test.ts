import { describe, expect, test } from "vitest";
import { faults } from "../faults.ts";
import { firstFailure } from "../first-failure.ts";
import { focusOf } from "../flaw-focus.ts";
import { runHistory } from "../history.ts";
import { orderNames } from "../order.ts";
import type { EventFields, EventKind, StoryEvent } from "./events.ts";
import { faultTellings } from "./fault-tellings.ts";
import { brokenBy, promises } from "./promises.ts";
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
  storeLost: { region: "a", copy: false, changes: 2 },
  promotion: { region: "a", process: "a:redis1" },
  healed: {},
  settled: {},
  checked: { answers: 8 },
  violation: { message: '"not found" for the create of rank 1' },
  end: { shared: 1, alone: 0, lostAlone: 0, violation: undefined },
};

describe("tells every event", () => {
  test.each(eventKinds)("%s", (kind) => {
    const told = tell({ kind, ...samples[kind] } as StoryEvent);
    expect(told.who).toMatch(/\w/);
    expect(told.what).toMatch(/^\S.*[^.\s]$/);
    expect(`${told.what} ${told.why}`).not.toMatch(/undefined|\[object/);
    if (kind !== "end") expect(told.why).toMatch(/^[A-Z"].*\.$/);
    for (const place of told.places) expect(place).toMatch(/^[ab](\d|:redis\d|:sentinel)?$/);
  });

  test("every kind has a sample", () => {
    expect(eventKinds.toSorted()).toEqual(Object.keys(samples).toSorted());
  });

  test("has words for every fault and order of the simulation, and for no other", () => {
    const names = [...Object.keys(faults), ...orderNames];
    expect(Object.keys(faultTellings).toSorted()).toEqual(names.toSorted());
  });
});

test.each([
  ['"not found" for the create of rank 1 of 1234abcd, acknowledged shared at 5 ms,', "not-found"],
  ["destroyed material was read: get 1234abcd at a1", "destroyed"],
  ["a destroyed object is no longer destroyed: look 1234abcd at a1", "destroyed"],
  ["1234abcd was destroyed while active, in a", "destroyed"],
  ["the state of rank 5 of 1234abcd is acknowledged, and not durable in b", "destroyed"],
  ["rank 2 was shown by the same store: look 1234abcd at b2", "backwards"],
  ["n7 was shown by the same store in its place: look 1234abcd at b2", "backwards"],
  ["n21 is seen, which the note n24 of 1234abcd replaced: look 1234abcd at b1", "backwards"],
  ["the state of rank 2 of 1234abcd is not seen: look 1234abcd at b1", "lost"],
  ["value n1 of the values n1 of 1234abcd is gone: look 1234abcd at b1", "lost"],
  ["the note n1 of 1234abcd is not in b at the end", "lost"],
  ["two leaders acted in epoch 3 of region a", "leaders"],
  ["not settled after 120000 ms: the regions differ", "other"],
  ['destroy at b1 is answered {"reason":"the object was destroyed"} at the end', "other"],
  ["object 1234abcd at any endpoint: no order explains Get; it could only be: destroyed", "other"],
])("counts the violation %j as %s", (message, id) => {
  expect(brokenBy(message).id).toBe(id);
});

/** Seeds with an interrupted operation, a node that is cut off with its Redis, and a killed one. */
const seeds = [11, 12];

test.each(seeds)("tells seed %s the same way each time, within its limit", async (seed) => {
  const one = await runHistory(seed, { recorded: true });
  const other = await runHistory(seed, { recorded: true });
  const story = storyText(one.steps, 40);
  expect(storyText(other.steps, 40)).toEqual(story);
  expect(chosen(one.steps, 40)).toHaveLength(40);
  expect(story.length).toBe(40 + 3 + 1 + promises.length);
  // The recorder does not change the history.
  expect((await runHistory(seed)).digest).toBe(one.digest);
  // Identifiers have short names, and nothing was left out of a sentence.
  const all = storyText(one.steps, one.steps.length).join("\n");
  expect(all).not.toMatch(/[0-9a-f]{8}-|undefined|\[object/);
  expect(all).toContain("no promise was broken");
  // Reasons of the product are told in words that need no glossary.
  expect(all).not.toMatch(/serves.*(\blease\b|\bbarrier\b|\blevel\b)/);
  expect(story.slice(-promises.length).join("\n")).not.toMatch(/^ *[1-9]/m);
});

test("tells a broken promise where it happens, with the events that led to it", async () => {
  const flaw = "Item Not Found on an unreachable peer";
  const failed = await firstFailure({ flaw, focus: focusOf[flaw], recorded: true });
  const steps = failed?.steps ?? [];
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
