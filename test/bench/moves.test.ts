import type { KmipClient } from "@holdfast/client";
import { expect, test } from "vitest";
import { countGets, movesLines } from "./moves.ts";

test("a Get whose node is without its store is a failed Get, and named so", async () => {
  let calls = 0;
  let enough: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    enough = resolve;
  });
  const get = async () => {
    calls += 1;
    if (calls === 4) enough();
    throw new Error(calls < 3 ? "the store does not answer now" : "no such object");
  };
  const reader = { client: { get } as unknown as KmipClient, known: new Map([["id", "00"]]) };
  const gets = await countGets([reader], new AbortController().signal, () => ended);
  expect(gets.failed).toBe(gets.all);
  expect(gets.withoutStore).toBe(2);
  const before = { all: 1_000, failed: 0, withoutStore: 0 };
  const move = { from: "hpcs", to: "dedicated-key-protect", seconds: 1.25, gets };
  const [quiet, line] = movesLines({ keys: 100_000, before, moves: [move] });
  expect(quiet).toContain("1,000 Gets, 0 failed");
  expect(line).toContain(`${gets.all} Gets, ${gets.all} failed, 2 of these`);
});
