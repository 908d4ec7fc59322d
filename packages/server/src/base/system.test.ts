import { getEventListeners } from "node:events";
import { expect, test, vi } from "vitest";
import { systemClock } from "./system.ts";

const { sleep } = systemClock;
const hour = 3_600_000;

test("a sleep ends by itself, and leaves nothing at its signal", async () => {
  const { signal } = new AbortController();
  await Promise.all([sleep(1), sleep(1, signal), sleep(2, signal)]);
  expect(getEventListeners(signal, "abort")).toHaveLength(0);
});

test("a sleep rejects with the signal's reason, during it and before it", async () => {
  vi.useFakeTimers();
  const over = new AbortController();
  const asleep = sleep(hour, over.signal);
  over.abort("answered");
  await expect(asleep).rejects.toBe("answered");
  await expect(sleep(hour, over.signal)).rejects.toBe("answered");
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});
