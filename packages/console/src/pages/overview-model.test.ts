import { expect, test } from "vitest";
import type { Heard } from "../parts/regions-model.ts";
import { findingsOf, type Look, wellSince } from "./overview-model.ts";

type Check = NonNullable<Look["checks"]>[number];

const nodes = ["a1", "b1"];
const ok: Check = { name: "store", state: "ok", detail: "it answers", mend: "" };
const warning: Check = { name: "clock", state: "warning", detail: "it is late", mend: "set it" };
const failed: Check = { name: "store", state: "failed", detail: "it is full", mend: "make room" };

function lookAt(node: string, atMs: number, ...checks: readonly Check[]): Look {
  return { node, atMs, checks };
}

function answers(...all: readonly string[]): readonly Heard[] {
  return all.map((node) => ({ node, status: {} as NonNullable<Heard["status"]> }));
}

test("all is well only if every node answers, and passed every check at the last look", () => {
  const looks = [lookAt("a1", 2000, ok), lookAt("b1", 1000, ok)];
  expect(wellSince(nodes, looks, answers("a1", "b1"))).toBe(1000);
  const [first] = looks as [Look, Look];
  // Nothing was heard yet, one refuses, one is silent.
  for (const heard of [
    [],
    [...answers("a1"), { node: "b1", refused: "no session" }],
    [...answers("a1"), { node: "b1", silent: "no answer" }],
  ]) {
    expect(wellSince(nodes, looks, heard)).toBeUndefined();
  }
  for (const others of [
    [],
    [lookAt("b1", 1000, ok, warning)],
    [{ node: "b1", atMs: 3000, error: "no answer" }],
  ]) {
    expect(wellSince(nodes, [first, ...others], answers("a1", "b1"))).toBeUndefined();
  }
  expect(wellSince([], [], [])).toBeUndefined();
});

test("tells a finding once, with the nodes that have it, the worst first", () => {
  const looks = [
    lookAt("b1", 1000, warning, ok),
    { node: "a2", atMs: 1000, error: "no answer" },
    lookAt("a1", 1000, warning, failed),
  ];
  expect(findingsOf(looks, (node) => node.toUpperCase())).toEqual([
    { ...failed, nodes: ["A1"] },
    { ...warning, nodes: ["A1", "B1"] },
  ]);
});
