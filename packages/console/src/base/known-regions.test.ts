import { afterEach, beforeEach, expect, test, vi } from "vitest";

/** The page of a node's console: `api.ts` reads it when it is loaded. */
vi.hoisted(() => Object.assign(globalThis, { document: { baseURI: "https://a1.test/console/" } }));
vi.mock("./contract.ts", () => ({ operations: {} }));
const { findRegions, knowsRegions, regions } = await import("./known-regions.ts");

beforeEach(() => {
  vi.useFakeTimers();
  regions.value = ["b"];
  knowsRegions.value = false;
});
afterEach(() => {
  vi.useRealTimers();
});

test("asks for the regions until there is an answer, and then no more", async () => {
  const answers = [new Error("503"), new Error("no answer"), ["b", "a"]];
  const asked = vi.fn(async () => {
    const answer = answers.shift();
    if (answer instanceof Error || answer === undefined) throw answer;
    return answer;
  });
  findRegions(asked);
  await vi.advanceTimersByTimeAsync(3000);
  expect([knowsRegions.value, regions.value]).toEqual([false, ["b"]]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect([knowsRegions.value, regions.value]).toEqual([true, ["a", "b"]]);
  expect(asked).toHaveBeenCalledTimes(3);
});

test("asks no more once it is ended", async () => {
  const asked = vi.fn(async () => {
    throw new Error("503");
  });
  const end = findRegions(asked);
  await vi.advanceTimersByTimeAsync(3000);
  end();
  const { length } = asked.mock.calls;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveBeenCalledTimes(length);
});
