import { describe, expect, test } from "vitest";
import { ask, by, created, excused, lost, missing } from "./excused.ts";
import { judge } from "./judge.ts";
import type { Operation, StoreEvent } from "./operation.ts";

describe("what a fault excuses, and what it does not", () => {
  test.each(excused)("%s", (_, operations, events, expected) => {
    const history = { regions: ["a", "b"], operations: [created, ...operations], events };
    const { violations, undecided } = judge(history);
    expect(undecided).toEqual([]);
    expect(violations.length === 0 ? "legal" : "illegal", violations.join("\n")).toBe(expected);
  });

  test("an object that one region made alone: the other one need not list it, and has it all the same", () => {
    const made = ask("a1", 0, 1, { operation: "Create", ...by("a") });
    const search = (at: string) =>
      ask(at, 20, 21, { operation: "Locate", outcome: "done", found: false });
    const of = (one: Operation, events: readonly StoreEvent[] = []) =>
      judge({ regions: ["a", "b"], operations: [made, one], events }).violations.length;
    expect(of(search("b1"))).toBe(0);
    expect(of(search("b1"), [{ event: "converged", at: 10 }])).toBe(1);
    expect(of(search("a1"))).toBe(1);
    expect(of(ask("b1", 20, 21, missing))).toBeGreaterThan(0);
    expect(of(ask("b1", 210, 211, missing), [lost])).toBe(0);
  });
});
