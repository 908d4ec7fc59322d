import { type Event, RootOfTrustError } from "@holdfast/engine";
import { until } from "@holdfast/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Fault } from "../support/key-protect/faults.ts";
import { type KeyManager, startKeyManager } from "../support/key-protect/index.ts";
import { openRoot, type RootOptions } from "../support/key-protect/root.ts";
import { systemClock } from "../support/redis-store.ts";

type Root = Awaited<ReturnType<typeof openRoot>>;
type RootCall = Extract<Event, { readonly type: "rootCall" }>;

const secret = Uint8Array.from({ length: 32 }, (_, at) => at);
const data = Buffer.from("instance 1");

describe("faults between a node and its key manager", () => {
  let manager: KeyManager;
  let rootKey: string;
  let events: RootCall[];

  beforeAll(async () => {
    manager = await startKeyManager({ kind: "key-protect" });
  });
  afterAll(async () => {
    await manager.close();
  });
  beforeEach(async () => {
    rootKey = await manager.createRootKey();
    events = [];
    await manager.calls({ reset: true });
  });
  afterEach(async () => {
    await manager.heal();
    await manager.role("Manager");
  });

  async function open(options: RootOptions = {}): Promise<Root> {
    const observe = (event: Event) => {
      if (event.type === "rootCall") events.push(event);
    };
    return await openRoot(manager, { rootKey, observe, ...options });
  }

  async function counted(at: "iam" | "kms"): Promise<number> {
    return (await manager.calls()).calls.filter((call) => call.at === at).length;
  }

  test("a token is fetched once, however many calls need it, and kept", async () => {
    await using root = await open();
    await Promise.all(Array.from({ length: 30 }, () => root.wrap(secret, data)));
    await root.describe();
    expect(await counted("iam")).toBe(1);
  });

  test("a token is renewed a minute before its end; if IAM is down, it is used to its end", async () => {
    let aheadMs = 0;
    // The clock stands until a minute before the end, so that a busy machine does not pass that.
    let standsAt: number | undefined = systemClock.monotonicMs();
    const monotonicMs = () => (standsAt ?? systemClock.monotonicMs()) + aheadMs;
    await using root = await open({ clock: { ...systemClock, monotonicMs } });
    await root.describe();
    aheadMs = 3_600_000 - 61_000;
    await root.describe();
    expect(await counted("iam")).toBe(1);
    standsAt = undefined;
    await manager.switch({ at: "iam", status: 503 });
    aheadMs = 3_600_000 - 59_000;
    await root.describe();
    await until("a renewal that fails", async () => (await counted("iam")) > 1);
    await root.describe();
    await manager.heal();
    await until("a renewal", async () => {
      await root.describe();
      const { calls } = await manager.calls();
      return calls.filter(({ at, status }) => at === "iam" && status === 200).length === 2;
    });
    aheadMs += 120_000;
    await root.describe();
  });

  test("a token that is no longer accepted is replaced, once", async () => {
    await using root = await open();
    await root.describe();
    await manager.revokeTokens();
    await root.describe();
    expect(events.map(({ action, status }) => `${action} ${status}`)).toEqual([
      "token 200",
      "metadata 200",
      "metadata 401",
      "token 200",
      "metadata 200",
    ]);
    await manager.role("None");
    await expect(root.describe()).rejects.toMatchObject({ failure: "denied" });
    for (let call = 0; call < 10; call++) {
      expect(await failureOf(root.describe())).toMatchObject({ failure: "denied" });
    }
    // The token is not the cause, so IAM is not asked again and again.
    expect(events.filter(({ action }) => action === "token")).toHaveLength(2);
  });

  test("a replaced API key is read again", async () => {
    let apiKey = "not known to IAM";
    await using root = await open({ apiKey: async () => `${apiKey}\n` });
    await expect(root.describe()).rejects.toMatchObject({ failure: "denied" });
    expect(events.at(-1)).toMatchObject({ action: "token", status: 400, code: "BXNIM0415E" });
    apiKey = manager.apiKey;
    await until("access with the new API key", () => works(root));
  });

  test("an API key that cannot be read makes the key manager unavailable, not denied", async () => {
    await using root = await open({ apiKey: () => Promise.reject(new Error("no such file")) });
    await expect(root.describe()).rejects.toMatchObject({ failure: "unavailable" });
  });

  test.each([
    [{ at: "iam", status: 503 }, "unavailable"],
    [{ at: "iam", status: 429 }, "unavailable"],
    [{ at: "iam", status: 400, body: "html" }, "unavailable"],
    [{ at: "iam", status: 200, body: "html" }, "unavailable"],
    [{ at: "iam", hang: true }, "unavailable"],
    [{ at: "iam", status: 400, code: "BXNIM0415E" }, "denied"],
    [{ at: "iam", status: 403, body: "none" }, "denied"],
    [{ hang: true }, "unavailable"],
    [{ cut: "before" }, "unavailable"],
    [{ status: 429 }, "unavailable"],
    [{ status: 500 }, "unavailable"],
    [{ status: 500, code: "INCOMPLETE_METADATA_ERR" }, "unavailable"],
    [{ status: 502, body: "html" }, "unavailable"],
    [{ status: 200, body: "html" }, "unavailable"],
    [{ status: 200, body: "truncated" }, "unavailable"],
    [{ status: 200, body: "none" }, "unavailable"],
    [{ status: 200, body: "huge" }, "unavailable"],
    [{ status: 302, body: "none" }, "unavailable"],
    [{ status: 400, code: "INVALID_FIELD_ERR" }, "unavailable"],
    // Not an answer of the key manager itself: a proxy, or another server at this name.
    [{ status: 404, body: "html" }, "unavailable"],
    [{ status: 409, body: "none" }, "unavailable"],
    [{ status: 410, body: "html" }, "unavailable"],
    [{ status: 401, body: "html" }, "denied"],
    [{ status: 403, code: "FEATURE_RESTRICTED_ERR" }, "denied"],
    [{ status: 400, code: "KEY_ROOT_REQ_ERR" }, "denied"],
    [{ status: 400, code: "BEARER_SUB_EXTRACTION_ERR" }, "denied"],
    [{ status: 404, code: "KEY_NOT_FOUND_ERR" }, "gone"],
    [{ status: 404, code: "KEY_RING_NOT_FOUND_ERR" }, "gone"],
    [{ status: 410, code: "KEY_DELETED_ERR" }, "gone"],
    [{ status: 409, code: "KEY_ACTION_INVALID_STATE_ERR" }, "disabled"],
    [{ status: 400, code: "KEY_EXPIRED_ERR" }, "disabled"],
    // Without a code, as in 2019.
    [{ status: 404 }, "gone"],
    [{ status: 409 }, "disabled"],
    [{ status: 410 }, "gone"],
  ] satisfies [Fault, string][])("%o makes a call fail as %s", async (fault, failure) => {
    await manager.switch(fault);
    // A failure without retries gets the usual long deadline, so that a busy machine cannot run into it.
    await using root = await open(failure === "unavailable" ? { deadlineMs: 200 } : {});
    const error = await root.wrap(secret, data).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(RootOfTrustError);
    expect(error).toMatchObject({ failure });
  });

  test("a whole call ends at its deadline, and the next one succeeds", async () => {
    await using root = await open({ deadlineMs: 400 });
    await manager.switch({ hang: true });
    await expect(root.wrap(secret, data)).rejects.toMatchObject({ failure: "unavailable" });
    await manager.heal();
    await until("service again", () => works(root));
  });

  test("an attempt that hangs leaves time for another one", async () => {
    await using root = await open({ deadlineMs: 4000 });
    await root.describe();
    // On a busy machine the other one may be late too.
    await until("a call succeeds in time", async () => {
      await manager.heal();
      await manager.switch({ hang: true, times: 1 });
      return await works(root);
    });
    expect(events.slice(-2).map(({ status, code }) => [status, code])).toEqual([
      [0, "TimeoutError"],
      [200, undefined],
    ]);
  });

  test("a key manager gets no calls for as long as it asks for, within limits", async () => {
    let aheadMs = 0;
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
    await using root = await open({ clock, deadlineMs: 5000 });
    await manager.switch({ status: 429, retryAfter: "3600", times: 1 });
    const asked = await failureOf(root.describe());
    expect(asked).toMatchObject({ failure: "unavailable" });
    const before = await counted("kms");
    expect(await failureOf(root.describe())).toMatchObject({ failure: "unavailable" });
    expect(await counted("kms")).toBe(before);
    aheadMs = 10_000;
    await root.describe();
  });

  test.each([
    { status: 429 },
    { status: 429, retryAfter: "1" },
    { status: 500 },
    { status: 503, body: "html" },
    { cut: "before" },
    { cut: "after" },
    { at: "iam", status: 500 },
    { at: "iam", cut: "before" },
  ] satisfies Fault[])("a call succeeds although %o happens twice", async (fault) => {
    await using root = await open();
    await manager.switch({ ...fault, times: 2 });
    const began = performance.now();
    const { blob } = await root.wrap(secret, data);
    expect(Buffer.from((await root.unwrap(blob, data)).plaintext)).toEqual(Buffer.from(secret));
    if ("retryAfter" in fault) expect(performance.now() - began).toBeGreaterThan(1900);
    const tries = events.filter(({ action }) => action === (fault.at ? "token" : "wrap"));
    expect(tries.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
  });

  test("many calls that are refused as too many succeed, spread over time", async () => {
    await using root = await open();
    await manager.switch({ status: 429, times: 20 });
    await Promise.all(Array.from({ length: 20 }, () => root.wrap(secret, data)));
  });

  test("no more calls run at a time than allowed; the others wait within their deadline", async () => {
    await using root = await open({ inFlightMax: 3 });
    await root.describe();
    await manager.calls({ reset: true });
    await manager.switch({ delayMs: 30 });
    await Promise.all(Array.from({ length: 15 }, () => root.wrap(secret, data)));
    expect((await manager.calls()).mostInFlight).toBe(3);
    await using late = await open({ inFlightMax: 1, deadlineMs: 300 });
    await manager.switch({ hang: true });
    await manager.heal();
    await manager.switch({ action: "wrap", hang: true });
    const all = await Promise.allSettled(Array.from({ length: 5 }, () => late.wrap(secret, data)));
    for (const one of all) {
      expect(one).toMatchObject({ status: "rejected", reason: { failure: "unavailable" } });
    }
  });

  test("a key manager that is killed or frozen is unavailable, and later serves again", async () => {
    await using root = await open();
    await using hasty = await open({ deadlineMs: 300 });
    const { blob } = await root.wrap(secret, data);
    const unavailable = { failure: "unavailable" };
    await manager.kill();
    await expect(hasty.unwrap(blob, data)).rejects.toMatchObject(unavailable);
    await manager.restart();
    await until("service again", () => works(hasty));
    manager.freeze();
    await expect(hasty.unwrap(blob, data)).rejects.toMatchObject(unavailable);
    manager.thaw();
    await until("service again", () => works(hasty));
    expect(Buffer.from((await root.unwrap(blob, data)).plaintext)).toEqual(Buffer.from(secret));
  });

  test("a certificate that is not trusted makes the key manager unavailable", async () => {
    const other = await startKeyManager({ kind: "key-protect" });
    await using root = await open({ ca: other.ca, deadlineMs: 300 });
    await other.close();
    await expect(root.describe()).rejects.toMatchObject({ failure: "unavailable" });
    expect(await counted("kms")).toBe(0);
  });

  test("a closed root is unavailable at once, and its waiting calls end", async () => {
    await using root = await open();
    await root.describe();
    await manager.switch({ hang: true });
    const waits = [root.describe(), root.wrap(secret, data)].map((call) =>
      call.catch((caught: unknown) => caught),
    );
    await root.close();
    for (const error of await Promise.all(waits)) {
      expect(error).toMatchObject({ failure: "unavailable" });
    }
    await expect(root.describe()).rejects.toMatchObject({ failure: "unavailable" });
    await root.close();
  });

  test("each call's correlation ID is reported, the same for its retries, and no secret", async () => {
    await using root = await open();
    await manager.switch({ action: "wrap", status: 500, times: 1 });
    await root.wrap(secret, data);
    const told = events.filter(({ action }) => action === "wrap");
    const seen = (await manager.calls()).calls.filter(({ action }) => action === "wrap");
    expect(told).toHaveLength(2);
    expect(new Set([...told, ...seen].map(({ correlationId }) => correlationId)).size).toBe(1);
    await manager.change(rootKey, "delete");
    const error = await root.wrap(secret, data).catch(String);
    const last = events.at(-1);
    expect(last).toMatchObject({ root: "key-protect", status: 410, code: "KEY_DELETED_ERR" });
    expect(error).toContain(last?.correlationId);
    const shown = JSON.stringify(events) + error;
    expect(shown).not.toContain(manager.apiKey);
    expect(shown).not.toMatch(/Bearer|eyJ/);
  });
});

async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.catch((caught: unknown) => caught);
}

async function works(root: Root): Promise<boolean> {
  return root.describe().then(
    () => true,
    () => false,
  );
}
