import { type Recount as Step, stateCounts } from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
import { Recount } from "./recount-duty.ts";

const context = { epoch: 1, signal: new AbortController().signal, active: () => true };
const day = 86_400_000;
const empty = { states: stateCounts(), months: new Map<number, number>() };

describe("a recount", () => {
  test("begins at once in an uncounted store, continues to the end, and is repeated each day", async () => {
    const recounted: number[] = [];
    const uncounted = new Set([3]);
    const warnings: string[] = [];
    let nowMs = 5;
    let left = 2;
    const own = {
      countsIn: async (partition: number) =>
        uncounted.has(partition) ? undefined : new Map([[`i${partition}`, empty]]),
      recount: async (partition: number): Promise<Step> => {
        recounted.push(partition);
        left -= 1;
        if (left === 0) uncounted.clear();
        return { done: 7, left: Math.max(0, left), wrong: left === 0 ? 2 : 0 };
      },
    };
    const duty = new Recount({
      own,
      monotonicMs: () => nowMs,
      observe: (event) => {
        if (event.type === "warning") warnings.push(event.message);
      },
    });
    expect(await duty.run(context)).toEqual({ done: 14, left: 0 });
    expect(recounted).toEqual([3, 3]);
    expect(warnings).toEqual([
      "partition 3: 2 counts of objects by state were wrong and are corrected",
    ]);
    expect(duty.counts.size).toBe(64);
    await duty.run(context);
    expect(recounted).toHaveLength(2);
    expect(duty.counts.get("i3")).toEqual(empty);
    nowMs += day;
    await duty.run(context);
    expect(recounted.slice(2)).toEqual(Array.from({ length: 65 }, (_, partition) => partition));
    await duty.run(context);
    expect(recounted).toHaveLength(67);
  });

  test("does nothing for a store in memory", async () => {
    const duty = new Recount({
      own: new MemoryOwnStore(),
      monotonicMs: () => 0,
      observe: () => undefined,
    });
    expect(await duty.run(context)).toEqual({ done: 0, left: 0 });
  });
});
