import { randomBytes, randomUUID } from "node:crypto";
import { RootOfTrustError, SealBroken } from "@holdfast/engine";
import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import { beforeEach, expect, test } from "vitest";
import { OperatorError } from "../../base/operator-error.ts";
import { GuardedRoot, type GuardOptions, type RootHealth } from "./guarded-root.ts";

const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };
const clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };
const data = Buffer.from("data");
let root: MemoryRootOfTrust;
let told: RootHealth[];

function guard(options: Partial<GuardOptions> = {}): GuardedRoot {
  return new GuardedRoot(root, { clock, changed: (health) => told.push(health), ...options });
}

beforeEach(() => {
  root = new MemoryRootOfTrust(ids, "memory");
  told = [];
});

test("a guarded root wraps and unwraps, and reports its health only when it changes", async () => {
  const guarded = guard();
  expect(guarded.health.ok).toBeUndefined();
  const { blob } = await guarded.wrap(Buffer.alloc(32, 7), data);
  expect((await guarded.unwrap(blob, data)).plaintext).toEqual(Buffer.alloc(32, 7));
  root.fail("disabled");
  for (let at = 0; at < 3; at += 1) {
    await expect(guarded.unwrap(blob, data)).rejects.toMatchObject({ failure: "disabled" });
  }
  root.fail(undefined);
  await guarded.validate();
  expect(told.map(({ ok, failure }) => [ok, failure])).toEqual([
    [true, undefined],
    [false, "disabled"],
    [true, undefined],
  ]);
});

test("a call to a root of trust that hangs ends at the deadline, and no more calls are sent", async () => {
  let calls = 0;
  root.validate = () => {
    calls += 1;
    return new Promise(() => undefined);
  };
  const guarded = guard({ deadlineMs: 20, inFlightMax: 2, waitingMax: 3 });
  const all = await Promise.allSettled(Array.from({ length: 10 }, () => guarded.validate()));
  const reasons = all.map((one) => (one.status === "rejected" ? String(one.reason.message) : ""));
  expect(reasons.filter((reason) => reason.includes("within 20 ms"))).toHaveLength(5);
  expect(reasons.filter((reason) => reason.includes("too many"))).toHaveLength(5);
  expect(calls).toBe(2);
  expect(guarded.health).toMatchObject({ ok: false, failure: "unavailable" });
});

test("a call that has waited too long leaves its place to later ones", async () => {
  let end = (): void => undefined;
  let calls = 0;
  root.validate = async () => {
    calls += 1;
    if (calls === 1) {
      await new Promise<void>((resolve) => {
        end = resolve;
      });
    }
  };
  const guarded = guard({ deadlineMs: 50, inFlightMax: 1, waitingMax: 3 });
  const early = Array.from({ length: 4 }, () => guarded.validate());
  const outcomes = await Promise.allSettled(early);
  expect(outcomes.every(({ status }) => status === "rejected")).toBe(true);
  expect(guarded.inFlight).toBe(1);
  end();
  await guarded.validate();
  // Of those that gave up, only the one that ran has asked the root of trust.
  expect(calls).toBe(2);
});

test("a root key that wraps no more, and still unwraps, counts as working", async () => {
  const guarded = guard();
  const { blob } = await guarded.wrap(Buffer.alloc(32, 7), data);
  root.wrap = () => Promise.reject(new RootOfTrustError("disabled", "the key has expired"));
  for (let at = 0; at < 3; at += 1) {
    await expect(guarded.wrap(Buffer.alloc(32, 7), data)).rejects.toMatchObject({
      failure: "disabled",
    });
    await guarded.unwrap(blob, data);
  }
  expect(told.map(({ ok }) => ok)).toEqual([true]);
});

test("waiting calls start when another call ends", async () => {
  let running = 0;
  let most = 0;
  root.validate = async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setTimeout(resolve, 1));
    running -= 1;
  };
  const guarded = guard({ inFlightMax: 3 });
  await Promise.all(Array.from({ length: 20 }, () => guarded.validate()));
  expect(most).toBe(3);
  expect(guarded.inFlight).toBe(0);
});

test("a secret that cannot be read makes the root unavailable, not refused", async () => {
  root.unwrap = () => Promise.reject(new OperatorError("the secret: no such file"));
  const failure = guard().unwrap(new Uint8Array(), data);
  await expect(failure).rejects.toBeInstanceOf(RootOfTrustError);
  await expect(failure).rejects.toMatchObject({
    failure: "unavailable",
    message: "the secret: no such file",
  });
});

test("an invalid wrap does not affect the health of the root of trust", async () => {
  const guarded = guard();
  await expect(guarded.unwrap(Buffer.alloc(60), data)).rejects.toBeInstanceOf(SealBroken);
  expect(guarded.health.ok).toBe(true);
});

test("several callers that need the name at the same time cause one call", async () => {
  let asked = 0;
  const { describe } = root;
  root.describe = async () => {
    asked += 1;
    return await describe.call(root);
  };
  const guarded = guard();
  expect(guarded.lastDescription).toBeUndefined();
  for (let at = 0; at < 5; at += 1) expect((await guarded.describe()).name).toBe("memory");
  expect(asked).toBe(1);
  expect(guarded.lastDescription?.currentVersion).toBe("1");
});
