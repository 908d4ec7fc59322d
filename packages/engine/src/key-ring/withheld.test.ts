import { randomBytes, randomUUID } from "node:crypto";
import { byteString, encode } from "@holdfast/ttlv";
import { beforeEach, expect, test } from "vitest";
import { released, resealed, sealsBy } from "../material/reseal.ts";
import type { ManagedObject } from "../record/record.ts";
import type { SealBinding, SealedMaterial } from "../record/sealed.ts";
import { isWithheldKek, withheldKekId } from "../system/wrapped-kek.ts";
import { sampleObject } from "../testing/conformance/managed-object-conformance.ts";
import { MemoryKekStore } from "../testing/memory/memory-kek-store.ts";
import { MemoryRootOfTrust } from "../testing/memory/memory-root-of-trust.ts";
import { InstanceKeyRing } from "./key-ring.ts";

const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };
const binding: SealBinding = { instance: "i", uniqueIdentifier: randomUUID(), objectType: 2 };
const secret = Buffer.from(encode(byteString(0x420043, randomBytes(32))));

let keks: MemoryKekStore;
let ring: InstanceKeyRing;
let root: MemoryRootOfTrust;
let unwraps: number;

beforeEach(() => {
  keks = new MemoryKekStore();
  root = new MemoryRootOfTrust(ids);
  unwraps = 0;
  const { unwrap } = root;
  root.unwrap = (...given) => {
    unwraps += 1;
    return unwrap.apply(root, given);
  };
  ring = new InstanceKeyRing({
    ...{ rootOf: () => root, keks, ids, region: "a", observe: () => undefined },
    clock: { wallMs: () => 1_000_000, monotonicMs: () => 1_000_000 },
    ...{ kekCacheMs: 1e9, graceMs: 1e9 },
  });
});

async function withheldId(): Promise<string> {
  await ring.makeWithheld("i", 0);
  const [id] = (await keks.list("i")).map((kek) => kek.id).filter(isWithheldKek);
  if (id === undefined) throw new Error("no KEK withholds");
  return id;
}

/** A destroyed key that can be restored, with its material withheld, and the KEK that seals. */
async function withheldKey(): Promise<{ readonly object: ManagedObject; readonly kek: string }> {
  const material = await ring.seal(binding, secret);
  const destruction = { time: 5, region: "a", until: 9e9, state: "pending", us: 1 } as const;
  const facts = { destruction };
  const before = { ...sampleObject("i", binding.uniqueIdentifier), material, facts };
  const targets = { kek: material.kekId, withheld: await withheldId() };
  const object = await ring.holding(() => resealed(ring, before, targets));
  expect(object.material?.kekId).toBe(targets.withheld);
  return { object, kek: material.kekId };
}

test("the identifier of a KEK says that it withholds", () => {
  const id = randomUUID();
  expect(isWithheldKek(id)).toBe(false);
  expect(isWithheldKek(withheldKekId(id))).toBe(true);
  expect(withheldKekId(id)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-/);
});

test("no client opens what is withheld, and the KEK is not kept open", async () => {
  const { object } = await withheldKey();
  const material = object.material as SealedMaterial;
  const before = unwraps;
  await expect(ring.open(binding, material)).rejects.toThrow("withheld");
  // Not even while something else holds it.
  await ring.holding(async () => {
    await expect(ring.open(binding, material)).rejects.toThrow("withheld");
  });
  expect(unwraps).toBe(before);
  await expect(Promise.resolve(ring.openAny(binding, material))).rejects.toThrow("dropped");
  const open = () =>
    ring.holding(async () => {
      expect(Buffer.from(await ring.openAny(binding, material))).toEqual(secret);
      const during = unwraps;
      await ring.openAny(binding, material);
      expect(unwraps).toBe(during);
    });
  await open();
  const after = unwraps;
  await open();
  expect(unwraps).toBe(after + 1);
});

test("the KEK that withholds never seals for clients, and is made once", async () => {
  const { kek } = await withheldKey();
  await ring.makeWithheld("i", 0);
  expect((await keks.list("i")).filter(({ id }) => isWithheldKek(id))).toHaveLength(1);
  ring.lookAgain("i");
  expect((await ring.seal(binding, secret)).kekId).toBe(kek);
  // A rekey makes the next one come after it.
  const next = await ring.rekey("i", []);
  expect((await ring.seal(binding, secret)).kekId).toBe(next);
  const sealing = (await keks.list("i")).find(({ id }) => id === next);
  await ring.makeWithheld("i", sealing?.createdMs ?? 0);
  expect((await keks.list("i")).filter(({ id }) => isWithheldKek(id))).toHaveLength(2);
});

test("an instance whose only KEK withholds gets one that seals", async () => {
  await withheldId();
  expect(isWithheldKek((await ring.seal(binding, secret)).kekId)).toBe(false);
});

test("a restore seals the material for clients again, under the KEK that seals then", async () => {
  const { object } = await withheldKey();
  const next = await ring.rekey("i", []);
  const back = await released(ring, object);
  expect(back.material?.kekId).toBe(next);
  expect(Buffer.from(await ring.open(binding, back.material as SealedMaterial))).toEqual(secret);
  expect(await released(ring, back)).toBe(back);
  const { releases } = sealsBy(ring);
  expect(await releases(object, back)).toBe(true);
  const other = await ring.seal(binding, encode(byteString(0x420043, randomBytes(32))));
  expect(await releases(object, { ...back, material: other })).toBe(false);
});

test("a copy is neither broken nor replaced because its material is withheld", async () => {
  const { object } = await withheldKey();
  const seals = sealsBy(ring);
  expect(await seals.opens(object)).toBe(true);
  const other = { ...object, material: await ring.seal(binding, secret) };
  expect(await seals.newer(object, other)).toEqual(object);
  expect(await seals.newer(other, object)).toEqual(other);
});

test("a restored copy that cannot be released is broken, so that another region's copy takes its place", async () => {
  const { object } = await withheldKey();
  const facts = { destruction: { ...object.facts.destruction, state: "restored" } } as never;
  const seals = sealsBy(ring);
  expect(await seals.opens({ ...object, facts })).toBe(true);
  const material = { ...(object.material as SealedMaterial), nonce: new Uint8Array(12) };
  expect(await seals.opens({ ...object, facts, material })).toBe(false);
  expect(await seals.opens({ ...object, material })).toBe(true);
});

test("what is withheld stays so while no KEK for it is whole", async () => {
  const { object, kek } = await withheldKey();
  expect(await ring.holding(() => resealed(ring, object, { kek }))).toBe(object);
});

test("shredded keys are not opened by anybody, withheld ones too", async () => {
  const { object } = await withheldKey();
  ring.shred("i");
  const material = object.material as SealedMaterial;
  const opened = ring.holding(async () => ring.openAny(binding, material));
  await expect(opened).rejects.toThrow("shredded");
  await expect(released(ring, object)).rejects.toThrow("shredded");
  await expect(ring.makeWithheld("i", 0)).rejects.toThrow("shredded");
});
