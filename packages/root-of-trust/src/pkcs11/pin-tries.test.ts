import { expect, test } from "vitest";
import type { HostAnswer } from "./messages.ts";
import { PinTries } from "./pin-tries.ts";

const hourMs = 3_600_000;

/** A token with one right PIN, which counts the wrong ones that reach it. */
function tokenWith(right: string) {
  const state = { right, wrong: 0, nowMs: 0 };
  const tries = new PinTries("holdfast");
  const clock = { wallMs: () => 0, monotonicMs: () => state.nowMs };
  const ask = (pin: string) =>
    tries.ask(pin, clock, async (): Promise<HostAnswer> => {
      if (pin === state.right) return { id: 0, value: "done" };
      state.wrong += 1;
      return {
        id: 0,
        lost: false,
        fault: { kind: "pinRefused", message: "refused", tried: true },
      };
    });
  return { state, tries, ask };
}

test("after a refused PIN, a token is tried with no other new PIN for an hour, and the error says so", async () => {
  const { state, ask } = tokenWith("right");
  expect(await ask("right")).toMatchObject({ value: "done" });
  // At once, as several callers would.
  const guesses = Array.from({ length: 9 }, (_, at) => ask(`wrong-${at}`));
  const [first, ...others] = await Promise.allSettled(guesses);
  expect(first).toMatchObject({ value: { fault: { kind: "pinRefused" } } });
  for (const other of others) {
    expect(other).toMatchObject({
      reason: {
        failure: "unavailable",
        message:
          "token holdfast refused another PIN, and a new PIN is not tried for 60 min, so that the token does not lock: wait, or restart the node",
      },
    });
  }
  expect(state.wrong).toBe(1);
  expect(await ask("right")).toMatchObject({ value: "done" });
  await expect(ask("wrong-0")).rejects.toMatchObject({ failure: "denied" });
  state.nowMs += hourMs - 1;
  await expect(ask("wrong-1")).rejects.toThrow("not tried for 1 min");
  state.nowMs += 1;
  await ask("wrong-1");
  expect(state.wrong).toBe(2);
  await expect(ask("wrong-2")).rejects.toMatchObject({ failure: "unavailable" });
});

test("a token that gets another PIN is tried with that one at once, also while calls with the old one run", async () => {
  const { state, ask } = tokenWith("old");
  await ask("old");
  state.right = "new";
  await Promise.all([ask("old"), ask("old")]);
  await expect(ask("old")).rejects.toMatchObject({ failure: "denied" });
  expect(await ask("new")).toMatchObject({ value: "done" });
});

test("a token that did not check a PIN says nothing of it", async () => {
  const { tries, ask } = tokenWith("right");
  const clock = { wallMs: () => 0, monotonicMs: () => 0 };
  const absent: HostAnswer = {
    id: 0,
    lost: true,
    fault: { kind: "failure", failure: "unavailable", message: "no slot" },
  };
  await tries.ask("right", clock, async () => absent);
  const last: HostAnswer = {
    id: 0,
    lost: false,
    fault: { kind: "pinRefused", message: "one try left", tried: false },
  };
  await tries.ask("right", clock, async () => last);
  expect(tries.isEmpty).toBe(true);
  expect(await ask("right")).toMatchObject({ value: "done" });
  expect(tries.isEmpty).toBe(false);
});
