import { randomBytes, randomUUID } from "node:crypto";
import { attributeItem } from "@holdfast/kmip";
import { byteString, encode, ItemType } from "@holdfast/ttlv";
import { beforeEach, expect, test } from "vitest";
import { StoreUnavailable, UnknownKek } from "../base/errors.ts";
import { sealDigests } from "../material/object-digest.ts";
import { areUnderOtherKeks, kekIdsOf, resealed, sealsBy } from "../material/reseal.ts";
import type { ManagedObject } from "../record/record.ts";
import type { SealBinding } from "../record/sealed.ts";
import type { WrappedKek } from "../system/wrapped-kek.ts";
import { sampleObject } from "../testing/conformance/managed-object-conformance.ts";
import { MemoryKekStore } from "../testing/memory/memory-kek-store.ts";
import { MemoryRootOfTrust } from "../testing/memory/memory-root-of-trust.ts";
import { InstanceKeyRing } from "./key-ring.ts";

const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };
const binding: SealBinding = { instance: "i", uniqueIdentifier: randomUUID(), objectType: 2 };
const newSecret = () => Buffer.from(encode(byteString(0x420043, randomBytes(32))));
const secret = newSecret();

let nowMs: number;
let keks: MemoryKekStore;
let root: MemoryRootOfTrust;

beforeEach(() => {
  nowMs = 1_000_000;
  keks = new MemoryKekStore();
  root = new MemoryRootOfTrust(ids);
});

function makeRing(required: readonly string[] = ["a"]): InstanceKeyRing {
  return new InstanceKeyRing({
    rootOf: () => root,
    keks,
    clock: { wallMs: () => nowMs, monotonicMs: () => nowMs },
    ids,
    observe: () => undefined,
    region: "a",
    requiredRegions: () => required,
    exchangeWaitMs: 0,
    kekCacheMs: 10_000,
    graceMs: 60_000,
  });
}

async function keyOf(
  ring: InstanceKeyRing,
  plaintext: Uint8Array = secret,
): Promise<ManagedObject> {
  const material = await ring.seal(binding, plaintext);
  const digest = attributeItem("Digest", {
    hashingAlgorithm: "SHA_256",
    digestValue: randomBytes(32),
    keyFormatType: "Raw",
  });
  const fixed = await sealDigests(ring, binding, [digest]);
  return { ...sampleObject("i", binding.uniqueIdentifier), fixed, material };
}

test("after a rekey the new KEK seals at once, and the older one still opens, whatever the clock says", async () => {
  const ring = makeRing();
  const before = await ring.seal(binding, secret);
  nowMs -= 500_000;
  const id = await ring.rekey("i", []);
  const after = await ring.seal(binding, secret);
  expect(after.kekId).toBe(id);
  expect(before.kekId).not.toBe(id);
  expect(Buffer.from(await ring.open(binding, before))).toEqual(secret);
  const [first, second] = await keks.list("i");
  expect(second?.createdMs).toBeGreaterThan(first?.createdMs ?? 0);
});

test("another node goes on with the older KEK until it looks again, or loads a key", async () => {
  const [one, other] = [makeRing(), makeRing()];
  const before = await other.seal(binding, secret);
  const id = await one.rekey("i", []);
  expect((await other.seal(binding, secret)).kekId).toBe(before.kekId);
  other.lookAgain("i");
  expect((await other.seal(binding, secret)).kekId).toBe(id);
});

test("what was read before another KEK was made does not make the older one seal again", async () => {
  const [one, other] = [makeRing(), makeRing()];
  const sealed = await other.seal(binding, secret);
  other.drop();
  const { list } = keks;
  let id = "";
  keks.list = async (instance) => {
    keks.list = list;
    const known = await keks.list(instance);
    id = await one.rekey("i", []);
    other.lookAgain("i");
    return known;
  };
  // The load of the older KEK reads, and the order to look again comes before it has read.
  await other.open(binding, sealed);
  expect((await other.seal(binding, secret)).kekId).toBe(id);
});

test("a Digest that is no seal stays as it is, and does not stop the material", async () => {
  const ring = makeRing();
  const object = await keyOf(ring);
  const fixed = object.fixed.map(
    (item) => ({ ...item, type: ItemType.Integer, value: 1 }) as const,
  );
  const id = await ring.rekey("i", []);
  const after = await resealed(ring, { ...object, fixed }, id);
  expect(after.fixed).toEqual(fixed);
  expect(after.material?.kekId).toBe(id);
  expect(areUnderOtherKeks({ ...object, fixed }, object)).toBe(false);
  expect(await sealsBy(ring).opens({ ...object, fixed })).toBe(false);
});

test("a KEK that a region has not wrapped does not seal", async () => {
  const alone = makeRing();
  const before = await alone.seal(binding, secret);
  const [kek] = await keks.list("i");
  const [wrap] = kek?.wraps ?? [];
  if (wrap === undefined) throw new Error("no wrap");
  await keks.rewrap("i", before.kekId, new Uint8Array(), { ...wrap, region: "b" });
  const both = makeRing(["a", "b"]);
  expect((await both.seal(binding, secret)).kekId).toBe(before.kekId);
  const id = await both.rekey("i", []);
  expect((await both.seal(binding, secret)).kekId).toBe(before.kekId);
  await keks.rewrap("i", id, new Uint8Array(), { ...wrap, region: "b" });
  both.lookAgain("i");
  expect((await both.seal(binding, secret)).kekId).toBe(id);
});

test("two nodes re-seal to the same bytes, which open", async () => {
  const [one, other] = [makeRing(), makeRing()];
  const before = await one.seal(binding, secret);
  const id = await one.rekey("i", []);
  const after = await one.reseal(binding, before, id);
  expect(after.kekId).toBe(id);
  expect(await other.reseal(binding, before, id)).toEqual(after);
  expect(Buffer.from(await other.open(binding, after))).toEqual(secret);
  expect(await one.reseal(binding, after, id)).toBe(after);
});

test("nonces of seals that were made anew differ for each object, part and plaintext", async () => {
  const ring = makeRing();
  const sealed: readonly (readonly [SealBinding, Uint8Array])[] = [
    [binding, secret],
    [{ ...binding, part: "digest" }, secret],
    [{ ...binding, uniqueIdentifier: randomUUID() }, secret],
    [binding, newSecret()],
  ];
  const old = await Promise.all(sealed.map((each) => ring.seal(...each)));
  const id = await ring.rekey("i", []);
  const nonces = await Promise.all(
    old.map(async (seal, at) => {
      const { nonce } = await ring.reseal(sealed[at]?.[0] ?? binding, seal, id);
      return Buffer.from(nonce).toString("hex");
    }),
  );
  expect(new Set(nonces).size).toBe(4);
});

test("a region that was away during one of two rekeys makes the same bytes as the other", async () => {
  const ring = makeRing();
  const before = await keyOf(ring);
  const second = await ring.rekey("i", []);
  const third = await ring.rekey("i", []);
  const inA = await resealed(ring, await resealed(ring, before, second), third);
  expect(await resealed(ring, before, third)).toEqual(inA);
  expect(await sealsBy(ring).opens(inA)).toBe(true);
});

test("an object is re-sealed with its Digest, and needs the older KEK no more", async () => {
  const ring = makeRing();
  const before = await keyOf(ring);
  const id = await ring.rekey("i", []);
  const after = await resealed(ring, before, id);
  expect([...kekIdsOf(before)]).not.toContain(id);
  expect([...kekIdsOf(after)]).toEqual([id]);
  expect(areUnderOtherKeks(before, after)).toBe(true);
  expect(await sealsBy(ring).opens(after)).toBe(true);
  expect(await resealed(ring, after, id)).toBe(after);
  const destroyed = { ...before, material: undefined };
  expect([...kekIdsOf(await resealed(ring, destroyed, id))]).toEqual([id]);
});

test("of two copies the seals of the newer KEK stay, from either side; copies that hold something else are no pair", async () => {
  const ring = makeRing();
  const before = await keyOf(ring);
  const after = await resealed(ring, before, await ring.rekey("i", []));
  const { newer } = sealsBy(ring);
  expect(await newer(before, after)).toEqual(after);
  expect(await newer(after, before)).toEqual(after);
  const again = { ...after, material: await ring.seal(binding, secret) };
  expect(await newer(again, after)).toEqual(await newer(after, again));
  expect(await newer(before, { ...before, material: await ring.seal(binding, newSecret()) })).toBe(
    undefined,
  );
});

test("every seal is counted under its KEK, and what is given back counts again", async () => {
  const ring = makeRing();
  const sealed = await ring.seal(binding, secret);
  await ring.seal(binding, secret);
  const id = await ring.rekey("i", []);
  await ring.reseal(binding, sealed, id);
  expect(ring.seals.take()).toEqual([
    { instance: "i", id: sealed.kekId, count: 2 },
    { instance: "i", id, count: 1 },
  ]);
  expect(ring.seals.take()).toEqual([]);
  ring.seals.count({ instance: "i", id }, 5);
  await ring.seal(binding, secret);
  expect(ring.seals.of(id)).toBe(6);
});

test("a KEK whose wraps were removed is unknown, so that a copy under another KEK counts instead", async () => {
  const ring = makeRing();
  const sealed = await ring.seal(binding, secret);
  const [kek] = await keks.list("i");
  keks = Object.assign(new MemoryKekStore(), {
    list: async (): Promise<readonly WrappedKek[]> => (kek ? [{ ...kek, wraps: [] }] : []),
  });
  await expect(makeRing().open(binding, sealed)).rejects.toThrow(UnknownKek);
});

test("a KEK that a list lacks is read by its identifier, and is unknown only without one", async () => {
  const sealed = await makeRing().seal(binding, secret);
  const [kek] = await keks.list("i");
  // As in a store that is still filled.
  let answer = async (): Promise<WrappedKek | undefined> => kek;
  keks = Object.assign(new MemoryKekStore(), { list: async () => [], read: () => answer() });
  expect(Buffer.from(await makeRing().open(binding, sealed))).toEqual(Buffer.from(secret));
  answer = async () => {
    throw new StoreUnavailable("peerUnreachable", "the other region does not answer");
  };
  await expect(makeRing().open(binding, sealed)).rejects.not.toThrow(UnknownKek);
  answer = async () => undefined;
  await expect(makeRing().open(binding, sealed)).rejects.toThrow(UnknownKek);
});

test("a shredded instance is not rekeyed", async () => {
  const ring = makeRing();
  await ring.seal(binding, secret);
  ring.shred("i");
  await expect(ring.rekey("i", [])).rejects.toThrow(/shredded/);
  expect(await keks.list("i")).toHaveLength(1);
});
