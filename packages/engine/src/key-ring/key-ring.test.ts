import { randomBytes, randomUUID } from "node:crypto";
import fc from "fast-check";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { KeyRingUnavailable, SealBroken } from "../base/errors.ts";
import type { Event } from "../base/observe.ts";
import type { SealBinding, SealedMaterial } from "../record/sealed.ts";
import { MemoryKekStore } from "../testing/memory/memory-kek-store.ts";
import { MemoryRootOfTrust } from "../testing/memory/memory-root-of-trust.ts";
import { InstanceKeyRing } from "./key-ring.ts";
import { kekCheck } from "./seal.ts";

const seed = 20260106;
const kekCacheMs = 10_000;
const graceMs = 60_000;
const secret = Buffer.from("key material of 32 bytes, please");
const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };
const binding: SealBinding = { instance: "i", uniqueIdentifier: "u", objectType: 2 };

let nowMs: number;
let keks: MemoryKekStore;
let root: MemoryRootOfTrust;
/** Keys as the root of trust returned them. */
let handedOut: Uint8Array[];
let events: Event[];

function makeRing(region = "a"): InstanceKeyRing {
  const watched = {
    kind: root.kind,
    describe: () => root.describe(),
    wrap: (plaintext: Uint8Array, data: Uint8Array) => root.wrap(plaintext, data),
    rewrap: (blob: Uint8Array, data: Uint8Array) => root.rewrap(blob, data),
    rootKeys: () => root.rootKeys(),
    validate: () => root.validate(),
    probe: () => root.probe(),
    close: () => root.close(),
    unwrap: async (blob: Uint8Array, data: Uint8Array) => {
      const opened = await root.unwrap(blob, data);
      handedOut.push(opened.plaintext);
      return opened;
    },
  };
  return new InstanceKeyRing({
    rootOf: () => watched,
    keks,
    clock: { wallMs: () => 1_700_000_000_000 + nowMs, monotonicMs: () => nowMs },
    ids,
    observe: (event) => events.push(event),
    region,
    kekCacheMs,
    graceMs,
  });
}

beforeEach(() => {
  nowMs = 1_000;
  keks = new MemoryKekStore();
  root = new MemoryRootOfTrust(ids);
  handedOut = [];
  events = [];
});

function unwraps(): readonly boolean[] {
  return events.flatMap((event) => (event.type === "unwrap" ? [event.ok] : []));
}

/** Lets background loads end. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

function isZero(bytes: Uint8Array | undefined): boolean {
  return bytes?.every((byte) => byte === 0) ?? false;
}

describe("seal and open", () => {
  test(`return any material, without a promise while the KEK is in memory (seed ${seed})`, async () => {
    const ring = makeRing();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (plaintext) => {
        const opened = ring.open(binding, await ring.seal(binding, plaintext));
        expect(opened).toBeInstanceOf(Uint8Array);
        expect(Buffer.from(await opened)).toEqual(Buffer.from(plaintext));
      }),
      { seed, numRuns: 50 },
    );
  });

  test("hide the material, and two seals of it differ", async () => {
    const ring = makeRing();
    const [first, second] = [await ring.seal(binding, secret), await ring.seal(binding, secret)];
    expect(Buffer.from(first.ciphertext).includes(secret.subarray(0, 8))).toBe(false);
    expect(first.ciphertext.length).toBe(secret.length + 16);
    expect(Buffer.from(first.nonce)).not.toEqual(Buffer.from(second.nonce));
  });

  test("a new ring opens what another ring sealed, through the root of trust", async () => {
    const sealed = await makeRing().seal(binding, secret);
    const opened = makeRing().open(binding, sealed);
    expect(opened).toBeInstanceOf(Promise);
    expect(Buffer.from(await opened)).toEqual(secret);
  });

  test.each<[string, Partial<SealBinding>]>([
    ["identifier", { uniqueIdentifier: "v" }],
    ["object type", { objectType: 3 }],
  ])("throw SealBroken for another %s", async (_name, other) => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    expect(() => ring.open({ ...binding, ...other }, sealed)).toThrow(SealBroken);
  });

  test("fail for another instance, which does not have the KEK", async () => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    await expect(ring.open({ ...binding, instance: "j" }, sealed)).rejects.toThrow(
      KeyRingUnavailable,
    );
  });

  test("throw SealBroken for any changed byte, and for anything cut short", async () => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    const broken: SealedMaterial[] = [
      ...[...sealed.ciphertext.keys()].map((at) => ({
        ...sealed,
        ciphertext: flipped(sealed.ciphertext, at),
      })),
      ...[...sealed.nonce.keys()].map((at) => ({ ...sealed, nonce: flipped(sealed.nonce, at) })),
      { ...sealed, ciphertext: sealed.ciphertext.subarray(1) },
      { ...sealed, ciphertext: new Uint8Array(15) },
      { ...sealed, ciphertext: new Uint8Array() },
      { ...sealed, nonce: new Uint8Array() },
    ];
    for (const altered of broken) expect(() => ring.open(binding, altered)).toThrow(SealBroken);
  });

  function flipped(bytes: Uint8Array, at: number): Uint8Array {
    return bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
  }
});

describe("KEKs", () => {
  test("are made at first need, one per instance, wrapped, and the same at every node", async () => {
    const rings = [makeRing(), makeRing(), makeRing()];
    const sealed = await Promise.all(
      rings.flatMap((ring) => [ring.seal(binding, secret), ring.seal(binding, secret)]),
    );
    const [kek, ...more] = await keks.list("i");
    expect(more).toEqual([]);
    expect(kek).toMatchObject({ createdMs: 1_700_000_001_000, wraps: [{ region: "a" }] });
    expect(new Set(sealed.map(({ kekId }) => kekId))).toEqual(new Set([kek?.id]));
    for (const ring of rings) {
      for (const each of sealed)
        expect(Buffer.from(await ring.open(binding, each))).toEqual(secret);
    }
    await rings[0]?.seal({ ...binding, instance: "j" }, secret);
    expect((await keks.list("j"))[0]?.id).not.toBe(kek?.id);
  });

  test("ask the root of trust once when many callers need one", async () => {
    const sealed = await makeRing().seal(binding, secret);
    const ring = makeRing();
    events = [];
    await Promise.all(Array.from({ length: 50 }, async () => ring.open(binding, sealed)));
    expect(unwraps()).toEqual([true]);
  });

  test("do not open with a wrap that was moved from another KEK or instance", async () => {
    await makeRing().seal(binding, secret);
    const [kek] = await keks.list("i");
    if (kek === undefined) throw new Error("no KEK");
    await keks.add("j", kek, false);
    await expect(makeRing().seal({ ...binding, instance: "j" }, secret)).rejects.toThrow(
      SealBroken,
    );
  });

  test("cannot be used here if only another region has wrapped them", async () => {
    const sealed = await makeRing("b").seal(binding, secret);
    const ring = makeRing("a");
    await expect(ring.open(binding, sealed)).rejects.toThrow("not wrapped for this region");
    await expect(ring.seal(binding, secret)).rejects.toThrow("no key-encryption key is wrapped");
    expect(await keks.list("i")).toHaveLength(1);
  });

  test("all open, and the newest one seals", async () => {
    const ring = makeRing();
    const old = await ring.seal(binding, secret);
    const key = randomBytes(32);
    const { blob, version } = await root.wrap(key, Buffer.from("12:holdfast-kek1:i2:k2"));
    const wraps = [{ region: "a", rootOfTrust: "memory", rootKeyVersion: version, blob }];
    const check = kekCheck(key, "i", "k2");
    await keks.add("i", { id: "k2", createdMs: 1_800_000_000_000, check, wraps }, false);
    nowMs += kekCacheMs;
    const made = await ring.seal(binding, secret);
    expect(made.kekId).toBe("k2");
    expect(Buffer.from(await ring.open(binding, old))).toEqual(secret);
    expect(Buffer.from(await ring.open(binding, made))).toEqual(secret);
  });

  test("get a new wrap after a rotation of the root key, and the next node keeps it", async () => {
    const sealed = await makeRing().seal(binding, secret);
    root.rotate();
    await makeRing().open(binding, sealed);
    await settle();
    expect((await keks.list("i"))[0]?.wraps[0]?.rootKeyVersion).toBe("2");
    expect(Buffer.from(await makeRing().open(binding, sealed))).toEqual(secret);
  });
});

describe("time", () => {
  test("at half of its time a KEK is re-opened in the background", async () => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    nowMs += kekCacheMs / 2 - 1;
    expect(ring.open(binding, sealed)).toBeInstanceOf(Uint8Array);
    await settle();
    expect(unwraps()).toEqual([true]);
    nowMs += 1;
    expect(ring.open(binding, sealed)).toBeInstanceOf(Uint8Array);
    await settle();
    expect(unwraps()).toEqual([true, true]);
    expect(isZero(handedOut[0])).toBe(true);
    nowMs += kekCacheMs - 1;
    expect(ring.open(binding, sealed)).toBeInstanceOf(Uint8Array);
  });

  test("after its time a KEK is not used before the root of trust opened it again", async () => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    nowMs += kekCacheMs;
    const opened = ring.open(binding, sealed);
    expect(opened).toBeInstanceOf(Promise);
    expect(Buffer.from(await opened)).toEqual(secret);
    expect(unwraps()).toEqual([true, true]);
  });

  test("a sweep renews what was needed lately, and forgets what was not", async () => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    ring.sweep();
    expect(unwraps()).toEqual([true]);
    nowMs += kekCacheMs / 2;
    ring.sweep();
    await settle();
    expect(unwraps()).toEqual([true, true]);
    nowMs += kekCacheMs - 1;
    expect(ring.open(binding, sealed)).toBeInstanceOf(Uint8Array);
    await settle();
    nowMs += graceMs;
    ring.sweep();
    expect(unwraps()).toEqual([true, true, true]);
    expect(Buffer.from(await ring.open(binding, sealed))).toEqual(secret);
    expect(unwraps()).toEqual([true, true, true, true]);
  });

  test("a sweep notices a refusal even if no client asks for a key", async () => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    root.fail("gone");
    nowMs += kekCacheMs / 2;
    ring.sweep();
    await settle();
    await expect(ring.open(binding, sealed)).rejects.toMatchObject({ refused: true });
  });

  test.each(["denied", "disabled", "gone"] as const)("%s: drops a KEK at once", async (failure) => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    root.fail(failure);
    nowMs += kekCacheMs / 2;
    expect(ring.open(binding, sealed)).toBeInstanceOf(Uint8Array);
    await settle();
    await expect(ring.open(binding, sealed)).rejects.toMatchObject({ refused: true });
    await expect(ring.seal(binding, secret)).rejects.toMatchObject({ refused: true });
    expect(unwraps()).toEqual([true, false]);
    root.fail(undefined);
    nowMs += 1_000;
    expect(Buffer.from(await ring.open(binding, sealed))).toEqual(secret);
  });

  test("unreachable: keeps a KEK for the grace period, tries again, then closes it", async () => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    root.fail("unavailable");
    nowMs += kekCacheMs / 2;
    for (; nowMs < 1_000 + graceMs; nowMs += 1_000) {
      expect(ring.open(binding, sealed)).toBeInstanceOf(Uint8Array);
      await settle();
      ring.sweep();
    }
    expect(unwraps().length).toBeGreaterThan(50);
    await expect(ring.open(binding, sealed)).rejects.toMatchObject({ refused: false });
    root.fail(undefined);
    nowMs += 1_000;
    expect(Buffer.from(await ring.open(binding, sealed))).toEqual(secret);
  });

  test("unreachable: seals for the grace period, also after an order to look again", async () => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    root.fail("unavailable");
    nowMs += kekCacheMs / 2;
    expect(ring.open(binding, sealed)).toBeInstanceOf(Uint8Array);
    await settle();
    ring.lookAgain(binding.instance);
    expect(await ring.seal(binding, secret)).toMatchObject({ kekId: sealed.kekId });
  });

  test("hanging: seals at once, also after an order to look again", async () => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    const hung = vi.spyOn(root, "unwrap").mockReturnValue(new Promise(() => undefined));
    nowMs += kekCacheMs / 2;
    ring.lookAgain(binding.instance);
    const again = await Promise.race([ring.seal(binding, secret), settle()]);
    expect(again).toMatchObject({ kekId: sealed.kekId });
    expect(hung).toHaveBeenCalledOnce();
  });

  test("unreachable at first: leaves keys closed, and is asked at most once a second", async () => {
    const sealed = await makeRing().seal(binding, secret);
    const ring = makeRing();
    root.fail("unavailable");
    events = [];
    for (let attempt = 0; attempt < 5; attempt++) {
      await expect(ring.open(binding, sealed)).rejects.toMatchObject({ refused: false });
    }
    expect(unwraps()).toEqual([false]);
  });

  test("reachable again within the grace period: the time starts again", async () => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    root.fail("unavailable");
    nowMs += kekCacheMs + 1;
    const opened = ring.open(binding, sealed);
    expect(opened).toBeInstanceOf(Promise);
    expect(Buffer.from(await opened)).toEqual(secret);
    root.fail(undefined);
    nowMs += 1_000;
    expect(ring.open(binding, sealed)).toBeInstanceOf(Uint8Array);
    await settle();
    nowMs += kekCacheMs - 1;
    expect(ring.open(binding, sealed)).toBeInstanceOf(Uint8Array);
  });
});

describe("drop", () => {
  test("forgets one instance's keys or all", async () => {
    const ring = makeRing();
    const other = { ...binding, instance: "j" };
    const sealed = await ring.seal(binding, secret);
    const sealedOther = await ring.seal(other, secret);
    ring.drop("i");
    expect(ring.open(other, sealedOther)).toBeInstanceOf(Uint8Array);
    const opened = ring.open(binding, sealed);
    expect(opened).toBeInstanceOf(Promise);
    expect(Buffer.from(await opened)).toEqual(secret);
    ring.drop();
    expect(ring.open(other, sealedOther)).toBeInstanceOf(Promise);
    expect(ring.open(binding, sealed)).toBeInstanceOf(Promise);
    await settle();
  });

  test("the bytes that the root of trust returns are zeroed as soon as the key is made", async () => {
    const ring = makeRing();
    const sealed = await ring.seal(binding, secret);
    expect(handedOut.map(isZero)).toEqual([true]);
    expect(Buffer.from(await ring.open(binding, sealed))).toEqual(secret);
  });

  test("is not undone by a load that was under way, and nothing is sealed with zeroes", async () => {
    const sealed = await makeRing().seal(binding, secret);
    const ring = makeRing();
    const opening = ring.open(binding, sealed);
    ring.drop();
    await expect(opening).rejects.toThrow(KeyRingUnavailable);
    expect(isZero(handedOut.at(-1))).toBe(true);
    const sealing = makeRing();
    const pending = sealing.seal(binding, secret);
    // Between the load and the seal that waits for it.
    while (handedOut.length < 3) await Promise.resolve();
    sealing.drop();
    await expect(pending).rejects.toThrow(KeyRingUnavailable);
  });
});
