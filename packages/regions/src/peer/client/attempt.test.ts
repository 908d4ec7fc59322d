import { setTimeout } from "node:timers/promises";
import { Semaphore, StoreUnavailable } from "@holdfast/engine";
import { describe, expect, test } from "vitest";
import { TestTime } from "../../testing/test-time.ts";
import { ByteBudget } from "../server-limits.ts";
import { CallFailed, type CallFault } from "../status.ts";
import { type Attempt, acrossNodes, type Judge } from "./attempt.ts";
import { acquireWithin, judge as judgeOfCalls } from "./calls.ts";

const judge: Judge = {
  final: (error) => error === "final",
  undone: (error) => error === "undone",
  better: (before, after) => (after === "informative" ? after : before),
};

/** Nodes that the test answers for. */
function nodes(count: number) {
  const asked: {
    readonly answer: (result: string) => void;
    readonly fail: (error: string) => void;
    readonly stall: () => void;
    cancelled: boolean;
  }[] = [];
  const result = acrossNodes(
    Array.from({ length: count }, (_, at) => at),
    (): Attempt<string> => {
      let stall: () => void = () => undefined;
      const { promise, resolve, reject } = settle();
      const entry = { answer: resolve, fail: reject, stall: () => stall(), cancelled: false };
      asked.push(entry);
      return {
        result: promise,
        onStall: (listener) => {
          stall = listener;
        },
        cancel: () => {
          entry.cancelled = true;
          reject("cancelled");
        },
      };
    },
    judge,
  );
  result.catch(() => undefined);
  return { asked, result };
}

function settle() {
  let resolve: (result: string) => void = () => undefined;
  let reject: (error: string) => void = () => undefined;
  const promise = new Promise<string>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

const turn = () => setTimeout(0);

describe("several nodes", () => {
  test("the first node answers", async () => {
    const { asked, result } = nodes(2);
    asked[0]?.answer("a");
    expect(await result).toEqual({ result: "a", doubt: false });
    expect(asked).toHaveLength(1);
  });

  test("the next is asked when one fails, and its answer may be in doubt", async () => {
    for (const [error, doubt] of [
      ["undone", false],
      ["unknown", true],
    ] as const) {
      const { asked, result } = nodes(2);
      asked[0]?.fail(error);
      await turn();
      asked[1]?.answer("b");
      expect(await result).toEqual({ result: "b", doubt });
    }
  });

  test("the next is asked when one stalls, and either may answer", async () => {
    for (const first of [0, 1]) {
      const { asked, result } = nodes(2);
      asked[0]?.stall();
      await turn();
      asked[first]?.answer("x");
      expect(await result).toEqual({ result: "x", doubt: true });
      expect(asked.map(({ cancelled }) => cancelled)).toEqual([first === 1, first === 0]);
    }
  });

  test("the next is asked only once when one stalls and then fails", async () => {
    const { asked, result } = nodes(3);
    asked[0]?.stall();
    await turn();
    asked[0]?.fail("unknown");
    await turn();
    expect(asked).toHaveLength(2);
    asked[1]?.fail("unknown");
    await turn();
    expect(asked).toHaveLength(3);
    asked[2]?.answer("c");
    expect((await result).result).toBe("c");
  });

  test("a failure that every node would give ends the request", async () => {
    const { asked, result } = nodes(3);
    asked[0]?.fail("final");
    await expect(result).rejects.toBe("final");
    expect(asked).toHaveLength(1);
  });

  test("where none answers, the more informative failure is thrown", async () => {
    const { asked, result } = nodes(3);
    asked[0]?.fail("first");
    await turn();
    asked[1]?.fail("informative");
    await turn();
    asked[2]?.fail("last");
    await expect(result).rejects.toBe("informative");
  });

  test("one that stalled is waited for when the others have failed", async () => {
    const { asked, result } = nodes(2);
    asked[0]?.stall();
    await turn();
    asked[1]?.fail("unknown");
    await turn();
    asked[0]?.answer("late");
    expect(await result).toEqual({ result: "late", doubt: true });
  });
});

describe("bounds", () => {
  const never = new AbortController().signal;

  test("bytes are reserved in order; more than the whole budget passes alone", async () => {
    const budget = new ByteBudget(10);
    const order: string[] = [];
    const ask = (name: string, bytes: number, signal = never) =>
      budget.reserve(bytes, signal).then((given) => order.push(`${name} ${given}`));
    await ask("a", 6);
    const waiting = [ask("large", 50), ask("b", 1)];
    await turn();
    expect(order).toEqual(["a true"]);
    budget.release(6);
    await waiting[0];
    expect(order).toEqual(["a true", "large true"]);
    budget.release(50);
    await waiting[1];
    expect(order.at(-1)).toBe("b true");
    budget.release(1);
    expect(budget.held).toBe(0);
  });

  test("a caller that gives up does not keep the others waiting", async () => {
    const budget = new ByteBudget(10);
    const over = new AbortController();
    await budget.reserve(8, never);
    const first = budget.reserve(9, over.signal);
    const second = budget.reserve(2, never);
    over.abort();
    expect(await first).toBe(false);
    expect(await second).toBe(true);
    expect(await budget.reserve(1, AbortSignal.abort())).toBe(false);
    budget.release(10);
    expect(budget.held).toBe(0);
  });

  test("slots are passed on in order, and callers wait a bounded time for them", async () => {
    const time = new TestTime();
    const slots = new Semaphore(1);
    const enter = (waitMs: number) => acquireWithin(slots, waitMs, 2, time);
    expect(await enter(0)).toBe(true);
    const second = enter(5_000);
    expect(await time.until(enter(10))).toBe(false);
    const third = enter(5_000);
    expect(await enter(5_000)).toBe(false);
    slots.release();
    expect(await second).toBe(true);
    slots.release();
    expect(await third).toBe(true);
    slots.release();
    expect(await enter(0)).toBe(true);
  });
});

test.each<[string, CallFault, boolean]>([
  ["that was not sent was not carried out", { kind: "notSent", reason: "" }, true],
  ["without an answer may have been carried out", { kind: "unknown", reason: "" }, false],
  [
    "that failed may have been carried out",
    { kind: "answered", error: new StoreUnavailable("barrierShort", "") },
    false,
  ],
  [
    "to a node that changes nothing before an upgrade is complete was not carried out",
    { kind: "answered", error: new StoreUnavailable("formatNotAgreed", "") },
    true,
  ],
])("a request %s", (_what, fault, undone) => {
  expect(judgeOfCalls.undone(new CallFailed(fault))).toBe(undone);
});
