import { expect, test } from "vitest";
import type { FaultRequest } from "./faults.ts";
import { Keys } from "./keys.ts";

const names = ["a1", "b1", "redis-a", "region-a"];

function pressed(keys: readonly string[]) {
  const done = {
    requests: [] as FaultRequest[],
    said: [] as string[],
    ended: 0,
    statuses: 0,
  };
  const terminal = new Keys({
    names,
    carryOut: (request) => done.requests.push(request),
    status: () => {
      done.statuses += 1;
    },
    end: () => {
      done.ended += 1;
    },
    say: (line) => done.said.push(line),
  });
  for (const key of keys) terminal.press(key);
  return done;
}

test.each([
  ["k1", { fault: "kill", parts: ["a1"], stay: false }],
  ["f3", { fault: "freeze", parts: ["redis-a"], stay: false }],
  ["tA", { fault: "thaw", parts: ["region-a"], stay: false }],
  ["kA", { fault: "kill", parts: ["region-a"], stay: false }],
  ["c", { fault: "cut", parts: [], stay: false }],
  ["h", { fault: "heal", parts: [], stay: false }],
])("the keys %s request one fault", (keys, request) => {
  const done = pressed([...keys]);
  expect(done.requests).toEqual([request]);
  expect(done.ended).toBe(0);
});

test("after a fault key, a key that names no part breaks nothing and is not a command", () => {
  const done = pressed(["k", "c", "x"]);
  expect(done.requests).toEqual([]);
  expect(done.said).toHaveLength(3);
  expect(done.said[0]).toBe(
    "kill what?  1 a1  2 b1  3 redis-a  A region-a  (any other key: nothing)",
  );
});

test.each([["q"], ["\u0003"]])("%j ends the cluster, even while a part is expected", (key) => {
  expect(pressed([key]).ended).toBe(1);
  expect(pressed(["k", key]).ended).toBe(1);
});

test("no lower-case letter and no digit breaks a whole region", () => {
  for (const key of "abcdefghijklmnopqrstuvwxyz0123456789") {
    const { requests } = pressed(["k", key]);
    expect(requests.flatMap(({ parts }) => parts)).not.toContain("region-a");
  }
});

test("s shows the status", () => {
  expect(pressed(["s"]).statuses).toBe(1);
});
