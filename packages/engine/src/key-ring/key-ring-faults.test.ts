import { randomBytes, randomUUID } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { KeyRingUnavailable, RootOfTrustError, SealBroken } from "../base/errors.ts";
import type { Event } from "../base/observe.ts";
import type { RootOfTrust } from "../ports/keys.ts";
import type { SealBinding } from "../record/sealed.ts";
import type { WrappedKek } from "../system/wrapped-kek.ts";
import { MemoryKekStore } from "../testing/memory/memory-kek-store.ts";
import { MemoryRootOfTrust } from "../testing/memory/memory-root-of-trust.ts";
import { InstanceKeyRing } from "./key-ring.ts";

const kekCacheMs = 10_000;
const graceMs = 60_000;
const wallMs = 1_700_000_000_000;
const secret = Buffer.from("key material of 32 bytes, please");
const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };
const [i, j]: SealBinding[] = ["i", "j"].map((instance) => ({
  instance,
  uniqueIdentifier: "u",
  objectType: 2,
})) as [SealBinding, SealBinding];

let nowMs: number;
let keks: MemoryKekStore;
let roots: Record<string, MemoryRootOfTrust>;
let serving: Record<string, string>;
let events: Event[];
let ring: InstanceKeyRing;

function makeRing(fetchPlain?: () => Promise<Uint8Array>): InstanceKeyRing {
  return new InstanceKeyRing({
    rootOf: (instance, madeBy) => rootNamed(madeBy) ?? root(serving[instance] ?? ""),
    keks,
    clock: { wallMs: () => wallMs + nowMs, monotonicMs: () => nowMs },
    ids,
    observe: (event) => events.push(event),
    region: "a",
    kekCacheMs,
    graceMs,
    ...(fetchPlain && { fetchPlain }),
  });
}

function rootNamed(name: string | undefined): MemoryRootOfTrust | undefined {
  return name === undefined ? undefined : roots[name];
}

function root(name: string): MemoryRootOfTrust {
  const found = roots[name];
  if (found === undefined) throw new RootOfTrustError("unavailable", `no root ${name}`);
  return found;
}

async function onlyKek(instance: string): Promise<WrappedKek> {
  const [kek, ...more] = await keks.list(instance);
  if (kek === undefined || more.length > 0) throw new Error("not one KEK");
  return kek;
}

async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

beforeEach(() => {
  nowMs = 1_000;
  keks = new MemoryKekStore();
  roots = { x: new MemoryRootOfTrust(ids, "x"), y: new MemoryRootOfTrust(ids, "y") };
  serving = { i: "x", j: "y" };
  events = [];
  ring = makeRing();
});

describe("with a root of trust of its own for each instance", () => {
  test("the refusal of one closes its instance and no other", async () => {
    const sealed = { i: await ring.seal(i, secret), j: await ring.seal(j, secret) };
    root("x").fail("disabled");
    await ring.revalidate("i");
    await expect(async () => ring.open(i, sealed.i)).rejects.toMatchObject({ refused: true });
    expect(ring.open(j, sealed.j)).toBeInstanceOf(Uint8Array);
    expect(ring.statusOf("i")).toMatchObject({ state: "closed", failure: "disabled" });
    expect(ring.statusOf("j")).toMatchObject({ state: "open", reason: "" });
  });

  test("the refusal of one KEK closes all of its instance under the same root key, also one that was opened later", async () => {
    const older = await ring.seal(i, secret);
    nowMs += 0.6 * kekCacheMs;
    await ring.rekey("i", []);
    const newer = await ring.seal(i, secret);
    expect(newer.kekId).not.toBe(older.kekId);
    nowMs += 0.6 * kekCacheMs;
    root("x").fail("disabled");
    for (const sealed of [older, newer]) {
      await expect(async () => ring.open(i, sealed)).rejects.toMatchObject({ refused: true });
    }
  });

  test("a root of trust that does not answer delays no other instance, and no open key of its own", async () => {
    const sealed = { i: await ring.seal(i, secret), j: await ring.seal(j, secret) };
    root("x").unwrap = () => new Promise(() => undefined);
    nowMs += kekCacheMs - 1;
    expect(ring.open(i, sealed.i)).toBeInstanceOf(Uint8Array);
    nowMs += 2;
    expect(ring.open(i, sealed.i)).toBeInstanceOf(Uint8Array);
    expect(Buffer.from(await ring.open(j, sealed.j))).toEqual(secret);
    nowMs += graceMs;
    expect(ring.open(i, sealed.i)).toBeInstanceOf(Promise);
  });

  test("a KEK that could not be made is reported", async () => {
    root("x").fail("denied");
    await expect(ring.seal(i, secret)).rejects.toMatchObject({ refused: true });
    expect(ring.statusOf("i")).toMatchObject({ state: "closed", failure: "denied" });
    root("x").fail(undefined);
    await ring.seal(i, secret);
    expect(ring.statusOf("i")?.state).toBe("open");
  });
});

describe("status", () => {
  test("shows when a grace period ends, and it then ends", async () => {
    const sealed = await ring.seal(i, secret);
    const validatedMs = nowMs;
    root("x").fail("unavailable");
    nowMs += kekCacheMs / 2;
    ring.sweep();
    await settle();
    expect(ring.statusOf("i")).toMatchObject({
      state: "grace",
      failure: "unavailable",
      sinceMs: wallMs + nowMs,
      graceUntilMs: wallMs + validatedMs + graceMs,
    });
    expect(ring.open(i, sealed)).toBeInstanceOf(Uint8Array);
    nowMs = validatedMs + graceMs;
    expect(ring.statusOf("i")?.state).toBe("closed");
    await expect(async () => ring.open(i, sealed)).rejects.toMatchObject({ refused: false });
    root("x").fail(undefined);
    nowMs += 1_000;
    expect(Buffer.from(await ring.open(i, sealed))).toEqual(secret);
    expect([...ring.statuses()]).toMatchObject([["i", { state: "open" }]]);
  });

  test("of a deleted instance is forgotten, also what an older request finds afterwards", async () => {
    await ring.seal(i, secret);
    root("x").fail("unavailable");
    nowMs += kekCacheMs / 2;
    ring.sweep();
    await settle();
    expect(ring.statusOf("i")?.state).toBe("grace");
    nowMs += kekCacheMs / 2;
    ring.sweep();
    ring.forget("i");
    await settle();
    expect([...ring.statuses()]).toEqual([]);
  });

  test("changes are reported once each, and a lasting failure once a minute", async () => {
    await ring.seal(i, secret);
    root("x").fail("unavailable");
    for (const startMs = nowMs; nowMs < startMs + 40_000; nowMs += 500) {
      ring.sweep();
      await settle();
    }
    const states = events.flatMap((event) => (event.type === "instanceKeys" ? [event.state] : []));
    expect(states).toEqual(["open", "grace"]);
    expect(events.filter(({ type }) => type === "warning")).toHaveLength(1);
  });
});

describe("shred", () => {
  test("keeps all keys closed until it is undone, regardless of the root of trust", async () => {
    const sealed = await ring.seal(i, secret);
    const other = await ring.seal(j, secret);
    ring.shred("i");
    for (const refused of [
      async () => ring.open(i, sealed),
      () => ring.seal(i, secret),
      async () => ring.plaintextFor("i", sealed.kekId),
    ]) {
      await expect(refused()).rejects.toMatchObject({ refused: true });
    }
    expect(ring.open(j, other)).toBeInstanceOf(Uint8Array);
    expect(ring.statusOf("i")?.state).toBe("shredded");
    await ring.revalidate("i");
    await expect(async () => ring.open(i, sealed)).rejects.toThrow("shredded");
    ring.unshred("i");
    expect(Buffer.from(await ring.open(i, sealed))).toEqual(secret);
  });

  test("is not undone by a load that was under way", async () => {
    const sealed = await ring.seal(i, secret);
    const fresh = makeRing();
    const opening = fresh.open(i, sealed);
    fresh.shred("i");
    await expect(opening).rejects.toThrow(KeyRingUnavailable);
    expect(fresh.statusOf("i")?.state).toBe("shredded");
  });

  test.each(["shred", "forget"] as const)(
    "or a similar drop gives no key to a region that asked before it: %s",
    async (how) => {
      const { kekId } = await ring.seal(i, secret);
      const asking = ring.plaintextFor("i", kekId);
      ring[how]("i");
      await expect(asking).rejects.toThrow(how === "shred" ? "shredded" : "dropped");
    },
  );
});

describe("revalidate", () => {
  test("asks at once, even after a refusal a moment ago", async () => {
    const sealed = await ring.seal(i, secret);
    root("x").fail("gone");
    expect(ring.open(i, sealed)).toBeInstanceOf(Uint8Array);
    await ring.revalidate("i");
    await expect(async () => ring.open(i, sealed)).rejects.toMatchObject({ refused: true });
    root("x").fail(undefined);
    await expect(async () => ring.open(i, sealed)).rejects.toMatchObject({ refused: true });
    await ring.revalidate("i");
    expect(Buffer.from(await ring.open(i, sealed))).toEqual(secret);
  });

  test("ignores the answer to an older request", async () => {
    const sealed = await ring.seal(i, secret);
    nowMs += kekCacheMs / 2;
    const { unwrap } = root("x");
    let answer: () => void = () => undefined;
    root("x").unwrap = async (...of) => {
      const opened = await unwrap.apply(root("x"), of);
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      return opened;
    };
    ring.sweep();
    await settle();
    const revalidated = ring.revalidate("i");
    root("x").unwrap = () => Promise.reject(new RootOfTrustError("gone", "deleted"));
    answer();
    await revalidated;
    await expect(async () => ring.open(i, sealed)).rejects.toMatchObject({ refused: true });
  });
});

describe("a change of the root key", () => {
  test("to a new version wraps the KEK again, and a stale second attempt changes nothing", async () => {
    await ring.seal(i, secret);
    const before = await onlyKek("i");
    expect(await ring.rewrap("i", before, root("x"), false)).toBe("same");
    root("x").rotate();
    expect(await ring.rewrap("i", before, root("x"), false)).toBe("rewrapped");
    expect((await onlyKek("i")).wraps).toMatchObject([{ rootOfTrust: "x", rootKeyVersion: "2" }]);
    expect(await ring.rewrap("i", before, root("x"), false)).toBe("raced");
  });

  test("to another root of trust needs no downtime: the old wrap opens until then", async () => {
    const sealed = await ring.seal(i, secret);
    serving["i"] = "y";
    const between = makeRing();
    expect(Buffer.from(await between.open(i, sealed))).toEqual(secret);
    expect(await ring.rewrap("i", await onlyKek("i"), root("y"), false)).toBe("moved");
    expect((await onlyKek("i")).wraps).toMatchObject([{ rootOfTrust: "y" }]);
    root("x").fail("gone");
    expect(Buffer.from(await makeRing().open(i, sealed))).toEqual(secret);
    expect((await onlyKek("i")).id).toBe(sealed.kekId);
  });

  test("leaves the old wrap if the new one, which comes with the opened key, does not open", async () => {
    const sealed = await ring.seal(i, secret);
    const before = await onlyKek("i");
    root("x").rotate();
    const { unwrap } = root("x");
    let lies = true;
    root("x").unwrap = async (...of) => {
      const opened = await unwrap.apply(root("x"), of);
      if (!lies || opened.rewrapped === undefined) return opened;
      return { ...opened, rewrapped: { ...opened.rewrapped, blob: randomBytes(60) } };
    };
    expect(Buffer.from(await makeRing().open(i, sealed))).toEqual(secret);
    await settle();
    expect(await onlyKek("i")).toEqual(before);
    lies = false;
    expect(Buffer.from(await makeRing().open(i, sealed))).toEqual(secret);
    await expect
      .poll(async () => (await onlyKek("i")).wraps)
      .toMatchObject([{ rootKeyVersion: "2" }]);
  });

  test("a region alone that still has the key wraps it again if its wrap was damaged", async () => {
    const sealed = await ring.seal(i, secret);
    const [wrap] = (await onlyKek("i")).wraps;
    if (wrap === undefined) throw new Error("no wrap");
    await keks.rewrap("i", sealed.kekId, wrap.blob, { ...wrap, blob: randomBytes(60) });
    nowMs += kekCacheMs / 2 + 1;
    await ring.revalidate("i");
    expect(Buffer.from(await ring.open(i, sealed))).toEqual(secret);
    expect(Buffer.from(await makeRing().open(i, sealed))).toEqual(secret);
  });

  test("leaves a key open when the old root of trust then refuses", async () => {
    const sealed = await ring.seal(i, secret);
    await ring.rewrap("i", await onlyKek("i"), root("y"), false);
    await ring.revalidate("i");
    root("x").fail("gone");
    await ring.revalidate("i");
    expect(ring.open(i, sealed)).toBeInstanceOf(Uint8Array);
  });

  test("can use the other region's key if the old root of trust is lost and that is ordered", async () => {
    const sealed = await ring.seal(i, secret);
    const plain = await ring.plaintextFor("i", sealed.kekId);
    root("x").fail("gone");
    const given: Uint8Array[] = [];
    const cold = makeRing(async () => {
      const copy = Buffer.from(plain);
      given.push(copy);
      return copy;
    });
    const kek = await onlyKek("i");
    await expect(cold.rewrap("i", kek, root("y"), false)).rejects.toMatchObject({
      failure: "gone",
    });
    expect(given).toHaveLength(0);
    expect(await cold.rewrap("i", kek, root("y"), true)).toBe("moved");
    expect(given.map((bytes) => bytes.some((byte) => byte !== 0))).toEqual([false]);
    expect(Buffer.from(await makeRing().open(i, sealed))).toEqual(secret);
  });

  test("is refused for a root of trust that does not unwrap what it wrapped", async () => {
    const sealed = await ring.seal(i, secret);
    const before = await onlyKek("i");
    const liar: RootOfTrust = root("y");
    liar.unwrap = async () => ({ plaintext: randomBytes(32), version: "1" });
    await expect(ring.rewrap("i", before, liar, false)).rejects.toThrow(SealBroken);
    expect(await onlyKek("i")).toEqual(before);
    expect(Buffer.from(await makeRing().open(i, sealed))).toEqual(secret);
  });
});
