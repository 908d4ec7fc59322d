import { contract } from "@holdfast/admin";
import { describe, expect, test } from "vitest";
import { operations } from "./build.ts";
import { merged, refuseWithFollow } from "./events.ts";

const event = (number: number, half: "p" | "o") => ({
  id: `store-1-${number}-${half}`,
  outcome: half === "p" ? "pending" : "success",
});

async function* told(...events: readonly (ReturnType<typeof event> | "pause")[]) {
  for (const one of events) {
    if (one === "pause") await new Promise((resolve) => setTimeout(resolve, 50));
    else yield one;
  }
}

async function idsOf(events: AsyncIterator<ReturnType<typeof event>>, waitMs = 60_000) {
  const ids: string[] = [];
  for await (const { id = "" } of merged(events, waitMs)) ids.push(id);
  return ids;
}

describe("events that are followed", () => {
  test("are printed as one line each, once the outcome is known", async () => {
    const events = told(event(1, "p"), event(1, "o"), event(2, "o"), event(3, "p"), event(3, "o"));
    expect(await idsOf(events)).toEqual(["store-1-1-o", "store-1-2-o", "store-1-3-o"]);
  });

  test("are shown as pending if another event or the end of the stream comes first", async () => {
    const events = told(event(1, "p"), event(2, "p"), event(2, "o"), event(3, "p"));
    expect(await idsOf(events)).toEqual(["store-1-1-p", "store-1-2-o", "store-1-3-p"]);
  });

  test("are shown as pending if no outcome comes in time", async () => {
    expect(await idsOf(told(event(1, "p"), "pause", event(1, "o")), 1)).toEqual([
      "store-1-1-p",
      "store-1-1-o",
    ]);
  });
});

test("--follow names the options that it does not accept, and accepts a limit", () => {
  const list = operations().find(({ name }) => name === "listEvents");
  if (list === undefined) throw new Error("no events");
  const refuse = (given: Readonly<Record<string, unknown>>) => () =>
    refuseWithFollow({ follow: true, ...given }, list, contract.followEvents);
  expect(refuse({ from: "1h", all: true })).toThrow("--from, --all: cannot be used with --follow");
  expect(refuse({ cursor: "x" })).toThrow("--cursor: cannot be used with --follow");
  expect(refuse({ limit: "2", action: "x", severity: "normal" })).not.toThrow();
});
