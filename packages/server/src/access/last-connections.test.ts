import { expect, test } from "vitest";
import { LastConnections } from "./last-connections.ts";

test("the last time of each certificate counts, and the oldest is dropped where there are too many", () => {
  const connections = new LastConnections();
  const of = (at: number) => at.toString(16).padStart(64, "0");
  connections.note(of(1), 1000);
  connections.note(of(2), 2000);
  connections.note(of(1), 3000);
  expect([of(1), of(2), of(3)].map((one) => connections.of(one))).toEqual([3000, 2000, undefined]);
  for (let at = 10; at < 10_009; at++) connections.note(of(at), at);
  expect([of(1), of(2)].map((one) => connections.of(one))).toEqual([3000, undefined]);
});
