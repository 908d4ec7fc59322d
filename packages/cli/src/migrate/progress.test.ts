import { AdminProblem, AdminUnreachable } from "@holdfast/admin";
import { ConnectionError, KmipClientError } from "@holdfast/client";
import { TtlvError } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { eachOf } from "../terminal/each.ts";
import { patiently, type Surroundings } from "./patience.ts";
import { Pace, Progress } from "./progress.ts";

/** A clock that moves only when something waits. */
function virtual(): Surroundings & { readonly at: () => number } {
  let ms = 0;
  return {
    now: () => ms,
    date: () => new Date(ms),
    sleep: async (more) => {
      ms += more;
    },
    newId: () => "id",
    at: () => ms,
  };
}

const kmipFault = (reason: string) =>
  new KmipClientError({ operation: "Get", status: "OperationFailed", reason, message: undefined });
const busy = (status: number, seconds?: number) => new AdminProblem(status, {}, seconds);

describe("patience", () => {
  test.each<[string, Error]>([
    ["a lost connection", new ConnectionError("lost", "gone")],
    ["no node that answers", new AdminUnreachable("gone")],
    ["429", busy(429, 2)],
    ["503", busy(503)],
  ])("with %s lasts as long as it was given, and then says how to continue", async (_, error) => {
    const around = virtual();
    let calls = 0;
    const work = async () => {
      calls += 1;
      throw error;
    };
    const ended = patiently({ ms: 60_000, around, who: "the source" }, work);
    await expect(ended).rejects.toThrow(/the source does not answer.*the same command again/);
    expect(calls).toBeGreaterThan(5);
    expect(around.at()).toBeGreaterThan(50_000);
  });

  test("ends when the call succeeds", async () => {
    const around = virtual();
    let calls = 0;
    const answer = await patiently({ ms: 60_000, around, who: "it" }, async () => {
      calls += 1;
      if (calls < 4) throw new ConnectionError("lost", "gone");
      return "answer";
    });
    expect([answer, calls]).toEqual(["answer", 4]);
  });

  test.each<[string, Error, number]>([
    ["a refused certificate", new ConnectionError("unreachable", "no", undefined, true), 1],
    ["a refusal", kmipFault("PermissionDenied"), 1],
    ["a wrong request", busy(400), 1],
    ["a server that never can tell", kmipFault("GeneralFailure"), 4],
    ["an answer that is too large", new ConnectionError("lost", "no", new TtlvError("big", 0)), 4],
  ])("with %s is short", async (_, error, wanted) => {
    let calls = 0;
    const work = async () => {
      calls += 1;
      throw error;
    };
    const ended = patiently({ ms: 60_000, around: virtual(), who: "it" }, work);
    await expect(ended).rejects.toBe(error);
    expect(calls).toBe(wanted);
  });

  test("that ends because of a refused certificate says to look at the certificates", async () => {
    const refused = new ConnectionError("unreachable", "no", undefined, true);
    const work = () => Promise.reject(refused);
    const patience = { ms: 60_000, around: virtual(), who: "the source" };
    const ended = patiently(patience, work, () => "lost");
    await expect(ended).rejects.toThrow("the certificates of both sides are valid, then give");
  });
});

describe("pace", () => {
  test("lets no more begin than were allowed", async () => {
    const around = virtual();
    const pace = new Pace(20, around);
    for (let at = 0; at < 101; at++) await pace.turn();
    expect(around.at()).toBe(5_000);
  });

  test("without a limit never waits", async () => {
    const around = virtual();
    const pace = new Pace(undefined, around);
    for (let at = 0; at < 100; at++) await pace.turn();
    expect(around.at()).toBe(0);
  });
});

test("progress without a terminal is a line from time to time, with the time left", async () => {
  const around = virtual();
  const said: string[] = [];
  using progress = new Progress("moved", 100, around, { write: (text) => said.push(text) });
  for (let at = 0; at < 50; at++) {
    await around.sleep(1_000);
    progress.add(1);
  }
  expect(said).toEqual([
    "holdfast: moved: 10 of 100, 90 s left\n",
    "holdfast: moved: 20 of 100, 80 s left\n",
    "holdfast: moved: 30 of 100, 70 s left\n",
    "holdfast: moved: 40 of 100, 60 s left\n",
    "holdfast: moved: 50 of 100, 50 s left\n",
  ]);
});

describe("work at the same time", () => {
  test("does each thing once, and never more than allowed at once", async () => {
    const done: number[] = [];
    let running = 0;
    await eachOf([1, 2, 3, 4, 5], 2, async (thing) => {
      running += 1;
      expect(running).toBeLessThanOrEqual(2);
      await Promise.resolve();
      running -= 1;
      done.push(thing);
    });
    expect(done.toSorted()).toEqual([1, 2, 3, 4, 5]);
  });

  test("begins nothing new after an error, and gives it once all have ended", async () => {
    const begun: number[] = [];
    const work = eachOf([1, 2, 3, 4, 5, 6], 2, async (thing) => {
      begun.push(thing);
      await Promise.resolve();
      if (thing === 2) throw new Error("broken");
    });
    await expect(work).rejects.toThrow("broken");
    expect(begun).not.toContain(6);
  });
});
