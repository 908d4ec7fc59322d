import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { Retries, retryAfterMs } from "./retry.ts";

const ids = {
  uuid: () => "",
  randomBytes: (length: number) => new Uint8Array(randomBytes(length)),
};
const clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };
const times = { deadlineMs: 10_000, attemptMs: 5000, backOffMs: 4 };
const never = new AbortController().signal;

describe("retries", () => {
  test("a call that fails temporarily is repeated until it succeeds", async () => {
    const retries = new Retries(clock, ids, times);
    const numbers: number[] = [];
    const answer = await retries.run(async (_, number) => {
      numbers.push(number);
      return number < 4 ? { again: new Error("passing") } : { done: "answer" };
    }, never);
    expect([answer, numbers]).toEqual(["answer", [1, 2, 3, 4]]);
  });

  test("a call that is refused permanently is not repeated", async () => {
    const retries = new Retries(clock, ids, times);
    let calls = 0;
    const run = retries.run(async () => {
      calls++;
      throw new Error("refused");
    }, never);
    await expect(run).rejects.toThrow("refused");
    expect(calls).toBe(1);
  });

  test("a call rejects with the last reason at its deadline", async () => {
    const retries = new Retries(clock, ids, { ...times, deadlineMs: 1_000 });
    const run = retries.run(async (_, number) => ({ again: new Error(`try ${number}`) }), never);
    await expect(run).rejects.toThrow(/^try ([2-9]|[1-9]\d+)$/);
  });

  test("an attempt that hangs ends at the deadline of the whole call", async () => {
    const retries = new Retries(clock, ids, { ...times, deadlineMs: 60 });
    const run = retries.run(async (signal) => {
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      return { again: new Error("too late") };
    }, never);
    await expect(run).rejects.toThrow("too late");
  });

  test("a call ends with its timer, even if the clock says that time is left", async () => {
    const still = { ...clock, monotonicMs: () => 0 };
    const retries = new Retries(still, ids, { ...times, deadlineMs: 20 });
    let attempts = 0;
    const run = retries.run(async (signal) => {
      attempts += 1;
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      return { again: new Error("too late") };
    }, never);
    await expect(run).rejects.toThrow("too late");
    expect(attempts).toBe(1);
  });

  test("an aborted call rejects with the abort reason, even during a wait", async () => {
    const retries = new Retries(clock, ids, { ...times, backOffMs: 60_000, deadlineMs: 200_000 });
    const ended = new AbortController();
    const run = retries.run(async () => ({ again: new Error("passing") }), ended.signal);
    const fails = expect(run).rejects.toBeInstanceOf(Error);
    ended.abort(new Error("closed"));
    await fails;
  });

  test("waits are random, and grow", async () => {
    const waits: number[] = [];
    let nowMs = 0;
    const stepping = { ...clock, monotonicMs: () => nowMs };
    const chances = [0xff, 0x80, 0x00, 0xff];
    const given = { ...ids, randomBytes: () => Uint8Array.of(chances.shift() ?? 0, 0) };
    const retries = new Retries(stepping, given, { ...times, backOffMs: 8 });
    let before = performance.now();
    await retries.run(async (_, number) => {
      const now = performance.now();
      waits.push(now - before);
      before = now;
      nowMs += 1;
      return number < 4 ? { again: new Error("passing") } : { done: true };
    }, never);
    const [, first = 0, second = 0, third = 0] = waits;
    expect(first).toBeGreaterThan(6);
    expect(second).toBeGreaterThan(6);
    expect(third).toBeLessThan(1000);
  });
});

describe("retry-after", () => {
  const wallMs = Date.parse("2026-11-25T20:00:00Z");
  test.each([
    [undefined, undefined],
    ["0", 0],
    ["7", 7000],
    ["Wed, 25 Nov 2026 20:00:30 GMT", 30_000],
    ["Wed, 25 Nov 2026 19:00:00 GMT", 0],
    ["soon", undefined],
    ["-1", undefined],
    ["99999999999999", undefined],
  ])("of %s is parsed", (header, ms) => {
    expect(retryAfterMs(header, wallMs)).toBe(ms);
  });
});
