import { KmipClientError } from "@holdfast/client";
import { expect, test } from "vitest";
import { judge } from "../linearizability/judge.ts";
import { calm } from "./calm.ts";
import type { Circumstances } from "./history.ts";
import { Intervals } from "./intervals.ts";
import type { Moment } from "./moment.ts";
import { Recorder } from "./recorder.ts";
import type { Service } from "./serving-log.ts";

/** Changes until 100 are shared; region a is disturbed from 200 to 300. */
function circumstances(emptiedMs: readonly number[] = []): Circumstances {
  const a = new Intervals();
  a.add(200, 300);
  return {
    ...calm,
    shared: (_, toMs) => toMs <= 100,
    disturbed: { a, b: new Intervals() },
    emptied: { a: emptiedMs, b: [] },
  };
}

function at(node: string, beganMs: number): Moment {
  const region = node.startsWith("a") ? "a" : "b";
  return { node, region, beganMs, endedMs: beganMs + 1 };
}

const done = (moment: Moment) => ({ kind: "done", answer: undefined, moment }) as const;
const failed = (moment: Moment) => ({ kind: "failed", moment }) as const;

test("knows the store and who acknowledged only where that is certain", () => {
  const recorder = new Recorder();
  const outcome = (moment: Moment) =>
    recorder.outcome("c", "k", { operation: "Revoke", compromise: true }, done(moment));
  for (const moment of [at("a1", 10), at("a1", 150), at("a1", 250)]) outcome(moment);
  recorder.outcome("c", "k", { operation: "Destroy" }, done(at("a1", 260)));
  recorder.outcome("c", "k", { operation: "Destroy" }, failed(at("b1", 270)));
  const { operations, events } = recorder.history(circumstances([400]));
  const short = operations.map((one) => [
    one.store,
    one.outcome,
    "acknowledged" in one ? one.acknowledged : undefined,
  ]);
  expect(short).toEqual([
    ["a", "done", ["a", "b"]],
    ["a", "done", ["a"]],
    [undefined, "done", []],
    [undefined, "done", ["a", "b"]],
    ["b", "unknown", undefined],
  ]);
  expect(events).toEqual([{ event: "storeLost", region: "a", at: 400, levelAt: 400 }]);
});

test("an Activate that may only have found the work of an earlier one is not shared for certain", () => {
  const recorder = new Recorder();
  const activate = { operation: "Activate" } as const;
  recorder.outcome("c", "k", activate, failed(at("a1", 10)));
  recorder.outcome("c", "k", activate, done(at("b1", 20)));
  recorder.outcome("c", "other", activate, done(at("b1", 20)));
  const told = recorder
    .history(circumstances())
    .operations.flatMap((one) => ("acknowledged" in one ? [one.acknowledged] : []));
  expect(told).toEqual([["b"], ["a", "b"]]);
});

test("knows the objects that were changed since a time, and not those that were only read", () => {
  const recorder = new Recorder();
  const add = { operation: "AddAttribute", attribute: "x", value: "v" } as const;
  recorder.outcome("c", "early", add, done(at("a1", 10)));
  recorder.outcome("c", "late", add, failed(at("a1", 30)));
  recorder.note("r", "read", at("a1", 40), { operation: "Locate", outcome: "done", found: true });
  expect(recorder.changedSince(20)).toEqual(new Set(["late"]));
});

test("watches a request: done, refused, and not known", async () => {
  const recorder = new Recorder();
  const target = { host: "h", port: 1 } as never;
  const asker = { client: "c", endpoint: { node: "a1", region: "a", target } } as const;
  const watch = (work: () => Promise<string>) =>
    recorder.watch(asker, "k", { operation: "Get" }, work, (digest) => ({ digest }));
  await watch(async () => "d");
  for (const reason of ["ObjectDestroyed", "GeneralFailure"]) {
    const failure = { operation: "Get", status: "OperationFailed", reason, message: "" } as const;
    const error = new KmipClientError(failure);
    const rejected = () => Promise.reject(error);
    await expect(watch(rejected)).rejects.toBe(error);
  }
  const { operations } = recorder.history(circumstances());
  expect(operations).toMatchObject([
    { operation: "Get", object: "k", client: "c", node: "a1", outcome: "done", digest: "d" },
    { outcome: "refused", reason: "ObjectDestroyed" },
    { outcome: "unknown" },
  ]);
});

test("a shared change that an endpoint does not show is found", () => {
  const recorder = new Recorder();
  recorder.outcome("c", "k", { operation: "Create" }, done(at("a1", 10)));
  recorder.outcome("c", "k", { operation: "Activate" }, done(at("a1", 20)));
  const look = { operation: "GetAttributes", outcome: "done" } as const;
  recorder.note("r", "k", at("b1", 30), { ...look, state: "Active" });
  expect(judge(recorder.history(circumstances())).violations).toEqual([]);
  recorder.note("r", "k", at("b1", 40), { ...look, state: "PreActive" });
  expect(judge(recorder.history(circumstances())).violations).toEqual([
    expect.stringMatching(/^object k in the store of region b: no order explains GetAttributes/),
    expect.stringMatching(/^object k at any endpoint: no order explains GetAttributes by r at b1/),
  ]);
});

test("what is answered after a request that is still under way began proves nothing", () => {
  const recorder = new Recorder();
  recorder.outcome("c", "k", { operation: "Create" }, done(at("a1", 10)));
  const look = { operation: "GetAttributes", outcome: "done" } as const;
  recorder.note("r", "k", at("b1", 40), { ...look, state: "Active" });
  const violationsBy = (knownMs?: number) =>
    judge(recorder.history(circumstances(), knownMs)).violations.length;
  expect(violationsBy(35)).toBe(0);
  expect(violationsBy(45)).toBeGreaterThan(0);
  expect(violationsBy()).toBeGreaterThan(0);
});

test("takes from the nodes' logs which store served a request during a fault, and who has a change", () => {
  const services: readonly Service[] = ["own", "through", "remote", "none"];
  const recorder = new Recorder();
  const add = { operation: "AddAttribute", attribute: "x", value: "v" } as const;
  const look = { operation: "GetAttributes", outcome: "done", state: "Active" } as const;
  for (const [nth, service] of services.entries()) {
    recorder.outcome("c", service, add, done(at("a1", 210 + 10 * nth)));
    recorder.note("r", service, at("a1", 215 + 10 * nth), look);
  }
  recorder.outcome("c", "own", { operation: "Destroy" }, failed(at("a1", 260)));
  recorder.note("r", "own", at("a1", 265), look);
  const served = ({ beganMs }: Moment) => services[Math.floor((beganMs - 210) / 10)] ?? "own";
  const { operations } = recorder.history({ ...circumstances(), served });
  const storesOf = (name: string) =>
    operations.filter(({ operation }) => operation === name).map(({ store }) => store);
  expect(storesOf("AddAttribute")).toEqual(["a", undefined, undefined, undefined]);
  expect(
    operations.flatMap((one) => ("acknowledged" in one ? [one.acknowledged?.join()] : [])),
  ).toEqual(["a", "a", "b", ""]);
  // An agreed operation may be under way when the last read is answered.
  expect(storesOf("GetAttributes")).toEqual(["a", undefined, undefined, undefined, undefined]);
});

test("a region that uses its store again must show what any region had acknowledged before", () => {
  const recorder = new Recorder();
  recorder.outcome("c", "k", { operation: "Create" }, done(at("a1", 10)));
  recorder.outcome("c", "k", { operation: "Activate" }, done(at("b1", 150)));
  const look = { operation: "GetAttributes", outcome: "done", state: "PreActive" } as const;
  recorder.note("r", "k", at("a1", 340), look);
  const violationsOf = (sinceMs: number) => {
    const levels = [{ region: "a", sinceMs, atMs: 330 }] as const;
    return judge(recorder.history({ ...circumstances(), levels })).violations;
  };
  expect(violationsOf(150)).toEqual([]);
  expect(violationsOf(160)).toEqual([
    expect.stringMatching(/^object k in the store of region a: no order explains GetAttributes/),
  ]);
});

test("both regions must show what was acknowledged before they had caught up, and not what came after", () => {
  const recorder = new Recorder();
  recorder.converged(150);
  expect(recorder.history(circumstances()).events).toEqual([
    { event: "converged", at: expect.any(Number), since: 150 },
  ]);
});
