import { expect, test } from "vitest";
import { ListenerGuard } from "./listener-guard.ts";

function start() {
  const state = { canRead: true, listening: true, nowMs: 0, fail: false, told: 0 };
  const calls: string[] = [];
  const endpoint = {
    get listening() {
      return state.listening;
    },
    open: async () => {
      calls.push("open");
      if (state.fail) throw new Error("in use");
      state.listening = true;
    },
    shut: async () => {
      calls.push("shut");
      state.listening = false;
    },
  };
  const health = {
    tick: () => undefined,
    get canRead() {
      return state.canRead;
    },
    listening: (open: boolean) => {
      calls.push(open ? "told open" : "told shut");
    },
  };
  const guard = new ListenerGuard(
    endpoint,
    health,
    () => state.told++,
    () => state.nowMs,
  );
  const tick = async () => {
    guard.tick();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { state, calls, guard, tick };
}

test("the listener is shut when the node cannot read and opened when it can, once per change", async () => {
  const { state, calls, tick } = start();
  await tick();
  state.canRead = false;
  await tick();
  await tick();
  state.canRead = true;
  await tick();
  await tick();
  expect(calls).toEqual(["told shut", "shut", "open", "told open"]);
});

test("a port that another program has taken is tried again every second, and reported", async () => {
  const { state, calls, tick } = start();
  state.listening = false;
  state.fail = true;
  await tick();
  await tick();
  expect(calls).toEqual(["open"]);
  state.nowMs = 1000;
  await tick();
  expect(calls).toEqual(["open", "open"]);
  expect(state.told).toBe(2);
  state.fail = false;
  state.nowMs = 2000;
  await tick();
  expect(state.listening).toBe(true);
});

test("a draining node's listener is not opened again", async () => {
  const { state, calls, guard, tick } = start();
  guard.close();
  state.listening = false;
  await tick();
  expect(calls).toEqual([]);
});
