import { expect, test } from "vitest";
import { AloneChanges } from "./alone.ts";
import type { NodeEvent } from "./events.ts";

const push = (region: string, result: "shared" | "alone", records: number): NodeEvent => ({
  ...{ type: "push", region, result, records, durationMs: 1 },
});
const peer = (state: "up" | "down"): NodeEvent => ({
  ...{ type: "peer", region: "b", state, reason: "" },
});

test("what is acknowledged alone counts from the time when the region was lost", () => {
  const alone = new AloneChanges();
  const events = [
    push("b", "alone", 5),
    peer("down"),
    push("b", "alone", 2),
    push("c", "alone", 9),
  ];
  for (const event of [...events, push("b", "alone", 1), push("b", "shared", 7)]) {
    alone.observe(event);
  }
  expect(alone.of("b")).toBe(3);
  alone.observe(peer("up"));
  expect(alone.of("b")).toBe(3);
  alone.observe(peer("down"));
  expect(alone.of("b")).toBe(0);
  expect(alone.of("d")).toBe(0);
});
