import { expect, test } from "vitest";
import { repeat, type StoreTimers, sleep } from "./timers.ts";

/** Timers that wait until the test lets time pass. */
function virtual() {
  let now = 0;
  const waiting = new Set<{ readonly at: number; readonly run: () => void }>();
  const timers: StoreTimers = {
    after: (ms, run) => {
      const entry = { at: now + ms, run };
      waiting.add(entry);
      return () => waiting.delete(entry);
    },
    soon: (run) => run(),
  };
  const pass = (ms: number): void => {
    for (const until = now + ms; now < until; ) {
      now += 1;
      for (const entry of [...waiting].filter(({ at }) => at <= now)) {
        waiting.delete(entry);
        entry.run();
      }
    }
  };
  return { timers, pass, waiting };
}

test("sleep ends after its time, or at once when it is aborted", async () => {
  const { timers, pass, waiting } = virtual();
  const stop = new AbortController();
  const { signal } = stop;
  const ended: string[] = [];
  const note = (name: string) => () => ended.push(name);
  const sleeps = [
    sleep(timers, 5).then(note("short")),
    sleep(timers, 500, { signal }).then(note("aborted")),
  ];
  pass(5);
  await sleeps[0];
  expect(ended).toEqual(["short"]);
  stop.abort();
  await sleeps[1];
  await sleep(timers, 500, { signal });
  expect(ended).toEqual(["short", "aborted"]);
  expect(waiting.size).toBe(0);
});

test("repeat runs until it is stopped, even by what it runs", () => {
  const { timers, pass, waiting } = virtual();
  let runs = 0;
  const stop = repeat(timers, 10, () => {
    runs += 1;
    if (runs === 3) stop();
  });
  pass(25);
  expect(runs).toBe(2);
  pass(100);
  expect(runs).toBe(3);
  expect(waiting.size).toBe(0);
});
