import { setTimeout } from "node:timers/promises";
import { expect, test } from "vitest";
import { TimedOut, withTimeout } from "./timeout.ts";

const timers = {
  sleep: (ms: number, signal?: AbortSignal) => setTimeout(ms, undefined, signal && { signal }),
};
const never = new Promise<never>(() => undefined);

test("work that ends in time gives its result, and the timer ends", async () => {
  let ended: AbortSignal | undefined;
  const sleep = (ms: number, signal?: AbortSignal) => {
    ended = signal;
    return timers.sleep(ms, signal);
  };
  expect(await withTimeout({ sleep }, 60_000, Promise.resolve("done"))).toBe("done");
  expect(ended?.aborted).toBe(true);
});

test("work that fails rejects with its own error, and work that takes too long with TimedOut", async () => {
  await expect(withTimeout(timers, 60_000, Promise.reject(new Error("no")))).rejects.toThrow("no");
  await expect(withTimeout(timers, 1, never)).rejects.toThrow(
    new TimedOut("no answer within 1 ms"),
  );
});
