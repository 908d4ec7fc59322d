import { randomBytes, randomUUID } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { KeyRingUnavailable, SealBroken } from "../base/errors.ts";
import type { SealBinding } from "../record/sealed.ts";
import type { KekWrap } from "../system/wrapped-kek.ts";
import { MemoryKekStore } from "../testing/memory/memory-kek-store.ts";
import { MemoryRootOfTrust } from "../testing/memory/memory-root-of-trust.ts";
import { InstanceKeyRing } from "./key-ring.ts";
import { kekCheck } from "./seal.ts";

const secret = Buffer.from("key material of 32 bytes, please");
const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };
const binding: SealBinding = { instance: "i", uniqueIdentifier: "u", objectType: 2 };
const exchangeWaitMs = 3_000;

let nowMs: number;
let keks: MemoryKekStore;
let roots: Record<string, MemoryRootOfTrust>;
/** Runs at each poll of a ring that waits. */
let meanwhile: () => Promise<void>;

function ringOf(
  region: string,
  required: () => readonly string[] = () => ["a", "b"],
  fetchPlain?: (instance: string, kekId: string) => Promise<Uint8Array>,
) {
  const root = roots[region];
  if (root === undefined) throw new Error("no such region");
  return new InstanceKeyRing({
    rootOf: () => root,
    keks,
    clock: { wallMs: () => 1_700_000_000_000 + nowMs, monotonicMs: () => nowMs },
    ids,
    observe: () => undefined,
    region,
    kekCacheMs: 10_000,
    graceMs: 60_000,
    requiredRegions: required,
    exchangeWaitMs,
    ...(fetchPlain && { fetchPlain }),
    sleep: async (ms) => {
      nowMs += ms;
      await meanwhile();
    },
  });
}

beforeEach(() => {
  nowMs = 1_000;
  keks = new MemoryKekStore();
  roots = { a: new MemoryRootOfTrust(ids), b: new MemoryRootOfTrust(ids) };
  meanwhile = async () => undefined;
});

/** Each region wraps what the other region made under its own root of trust. */
async function adoptAll(): Promise<boolean[]> {
  const adopted: boolean[] = [];
  for (const { id, wraps } of await keks.list("i")) {
    const [from] = wraps.map(({ region }) => region);
    if (from === undefined) continue;
    const to = from === "a" ? "b" : "a";
    const plain = (): Promise<Uint8Array> => ringOf(from).plaintextFor("i", id);
    adopted.push(await ringOf(to).adopt("i", id, plain));
  }
  return adopted;
}

describe("a KEK of two regions", () => {
  test("seals nothing before both have wrapped it, and each then opens what the other sealed", async () => {
    let polls = 0;
    meanwhile = async () => {
      polls += 1;
      if (polls === 3) await adoptAll();
    };
    const sealed = await ringOf("a").seal(binding, secret);
    expect(polls).toBe(3);
    expect((await keks.list("i"))[0]?.wraps.map(({ region }) => region)).toEqual(["a", "b"]);
    expect(Buffer.from(await ringOf("b").open(binding, sealed))).toEqual(secret);
    const back = await ringOf("b").seal(binding, secret);
    expect(back.kekId).toBe(sealed.kekId);
    expect(Buffer.from(await ringOf("a").open(binding, back))).toEqual(secret);
  });

  test("is awaited for a bounded time if the other region does not answer, and this is reported once", async () => {
    const ring = ringOf("a");
    const startedMs = nowMs;
    await expect(ring.seal(binding, secret)).rejects.toThrow(
      new KeyRingUnavailable(false, "the instance's key-encryption key waits for region b"),
    );
    expect(nowMs - startedMs).toBeGreaterThanOrEqual(exchangeWaitMs);
    const failedMs = nowMs;
    await expect(ring.seal(binding, secret)).rejects.toThrow("waits for region b");
    expect(nowMs).toBe(failedMs);
    expect(await keks.list("i")).toHaveLength(1);
    await adoptAll();
    await expect(ring.seal(binding, secret)).resolves.toBeDefined();
  });

  test("is neither wrapped nor opened if it is not the original key", async () => {
    await expect(ringOf("a").seal(binding, secret)).rejects.toThrow("waits for region b");
    const [kek] = await keks.list("i");
    const id = kek?.id ?? "";
    const wrong = async () => randomBytes(32);
    await expect(ringOf("b").adopt("i", id, wrong)).rejects.toThrow("not the original key");
    expect((await keks.list("i"))[0]?.wraps).toHaveLength(1);
    await adoptAll();
    const sealed = await ringOf("a").seal(binding, secret);
    const [whole] = await keks.list("i");
    const wrap = whole?.wraps.find(({ region }) => region === "b");
    const made = await roots["b"]?.wrap(randomBytes(32), Buffer.from(`12:holdfast-kek1:i36:${id}`));
    if (wrap === undefined || made === undefined) throw new Error("not wrapped");
    await keks.rewrap("i", id, wrap.blob, { ...wrap, blob: made.blob });
    await expect(ringOf("b").open(binding, sealed)).rejects.toThrow("not the original key");
  });

  test("is awaited as well if this region has not wrapped it", async () => {
    await expect(ringOf("b").seal(binding, secret)).rejects.toThrow("waits for region a");
    await expect(ringOf("a").seal(binding, secret)).rejects.toThrow("waits for region a");
    expect(await keks.list("i")).toHaveLength(1);
  });

  test("seals if both have wrapped it, while a newer one waits", async () => {
    meanwhile = async () => void (await adoptAll());
    const { kekId } = await ringOf("a").seal(binding, secret);
    nowMs += 1_000;
    const wraps: KekWrap[] = [
      { region: "b", rootOfTrust: "m", rootKeyVersion: "1", blob: randomBytes(60) },
    ];
    const newer = { id: randomUUID(), createdMs: 1_900_000_000_000, check: randomBytes(16), wraps };
    await keks.add("i", newer, false);
    expect((await ringOf("a").seal(binding, secret)).kekId).toBe(kekId);
    expect((await ringOf("b").seal(binding, secret)).kekId).toBe(kekId);
  });

  test("is the same choice of both regions if two were made at the same time", async () => {
    const pair = [
      { id: randomUUID(), region: "a" },
      { id: randomUUID(), region: "b" },
    ];
    for (const { id, region } of pair) {
      const key = randomBytes(32);
      const check = kekCheck(key, "i", id);
      const { blob, version } = (await roots[region]?.wrap(
        key,
        Buffer.from(`12:holdfast-kek1:i36:${id}`),
      )) ?? { blob: new Uint8Array(), version: "" };
      const wraps = [{ region, rootOfTrust: "memory", rootKeyVersion: version, blob }];
      await keks.add("i", { id, createdMs: 1_700_000_000_000, check, wraps }, false);
    }
    expect(await adoptAll()).toEqual([true, true]);
    const sealed = [
      await ringOf("a").seal(binding, secret),
      await ringOf("b").seal(binding, secret),
    ];
    expect(new Set(sealed.map(({ kekId }) => kekId)).size).toBe(1);
    for (const region of ["a", "b"]) {
      for (const each of sealed) {
        expect(Buffer.from(await ringOf(region).open(binding, each))).toEqual(secret);
      }
    }
  });

  test("waits for a region that is required from now on, also in a ring that sealed before", async () => {
    let required: readonly string[] = ["a"];
    const ring = ringOf("a", () => required);
    const first = await ring.seal(binding, secret);
    required = ["a", "b"];
    await expect(ring.seal(binding, secret)).rejects.toThrow("waits for region b");
    expect(Buffer.from(await ring.open(binding, first))).toEqual(secret);
    await adoptAll();
    expect((await ring.seal(binding, secret)).kekId).toBe(first.kekId);
  });
});

describe("adopting", () => {
  test("zeroes the bytes, adds one wrap, and does nothing a second time", async () => {
    await ringOf("a", () => ["a"]).seal(binding, secret);
    const [kek] = await keks.list("i");
    if (kek === undefined) throw new Error("no KEK");
    const plain = await ringOf("a").plaintextFor("i", kek.id);
    const before = Buffer.from(plain);
    expect(await ringOf("b").adopt("i", kek.id, async () => plain)).toBe(true);
    expect(plain.every((byte) => byte === 0)).toBe(true);
    expect(Buffer.from(await ringOf("b").plaintextFor("i", kek.id))).toEqual(before);
    const never = (): Promise<Uint8Array> => Promise.reject(new Error("asked"));
    expect(await ringOf("b").adopt("i", kek.id, never)).toBe(false);
    expect((await keks.list("i"))[0]?.wraps).toHaveLength(2);
  });

  test("takes a KEK whose wrap was lost from memory, and asks nobody", async () => {
    meanwhile = async () => void (await adoptAll());
    const ring = ringOf("a");
    await ring.seal(binding, secret);
    const [kek] = await keks.list("i");
    if (kek === undefined) throw new Error("no KEK");
    const lost = { ...kek, wraps: kek.wraps.filter(({ region }) => region === "b") };
    keks.read = async () => lost;
    const written: KekWrap[] = [];
    keks.rewrap = async (_instance, _id, expected, wrap) => {
      written.push(wrap);
      return expected.length === 0;
    };
    const never = (): Promise<Uint8Array> => Promise.reject(new Error("asked"));
    await expect(ringOf("a").adopt("i", kek.id, never)).rejects.toThrow("asked");
    expect(await ring.adopt("i", kek.id, never)).toBe(true);
    const [wrap] = written;
    if (wrap === undefined) throw new Error("no wrap");
    const proof = (changes: Partial<KekWrap> = {}) =>
      ringOf("a").prove({ instance: "i", kek: lost }, { ...wrap, ...changes });
    expect(await proof()).toBe("opens");
    expect(await proof({ blob: randomBytes(60) })).toBe("broken");
    expect(await proof({ blob: lost.wraps[0]?.blob ?? wrap.blob })).toBe("broken");
    expect(await proof({ rootOfTrust: "another" })).toBe("strange");
    roots["a"]?.fail("unavailable");
    await expect(proof()).rejects.toThrow("as the test said");
    const shredded = ringOf("a");
    shredded.shred("i");
    await expect(shredded.prove({ instance: "i", kek: lost }, wrap)).rejects.toThrow("shredded");
  });

  test("two nodes at once leave one wrap", async () => {
    await ringOf("a", () => ["a"]).seal(binding, secret);
    const [kek] = await keks.list("i");
    if (kek === undefined) throw new Error("no KEK");
    const plain = (): Promise<Uint8Array> => ringOf("a").plaintextFor("i", kek.id);
    const adopted = await Promise.all([0, 1].map(() => ringOf("b").adopt("i", kek.id, plain)));
    expect(adopted.toSorted()).toEqual([false, true]);
    expect((await keks.list("i"))[0]?.wraps).toHaveLength(2);
  });

  test("a key that does not come back from its wrap, or is malformed, is not adopted", async () => {
    await ringOf("a", () => ["a"]).seal(binding, secret);
    const [kek] = await keks.list("i");
    if (kek === undefined) throw new Error("no KEK");
    const short = randomBytes(31);
    await expect(ringOf("b").adopt("i", kek.id, async () => short)).rejects.toThrow(SealBroken);
    expect(short.every((byte) => byte === 0)).toBe(true);
    const root = roots["b"] as MemoryRootOfTrust;
    const unwrap = root.unwrap.bind(root);
    root.unwrap = async (blob, data) => {
      const opened = await unwrap(blob, data);
      opened.plaintext[0] = (opened.plaintext[0] ?? 0) ^ 1;
      return opened;
    };
    const plain = (): Promise<Uint8Array> => ringOf("a").plaintextFor("i", kek.id);
    await expect(ringOf("b").adopt("i", kek.id, plain)).rejects.toThrow(SealBroken);
    expect((await keks.list("i"))[0]?.wraps).toHaveLength(1);
  });

  test("no KEK of another instance, or without this region's wrap, is given to another region", async () => {
    await ringOf("a", () => ["a"]).seal(binding, secret);
    const [kek] = await keks.list("i");
    const id = kek?.id ?? "";
    await expect(ringOf("a").plaintextFor("j", id)).rejects.toThrow(KeyRingUnavailable);
    await expect(ringOf("b").plaintextFor("i", id)).rejects.toThrow(KeyRingUnavailable);
    roots["a"]?.fail("denied");
    await expect(ringOf("a").plaintextFor("i", id)).rejects.toMatchObject({ refused: true });
  });
});

describe("a wrap that another region wrote over this one's, and that does not open", () => {
  async function broken(): Promise<string> {
    const [kek] = await keks.list("i");
    const old = kek?.wraps.find(({ region }) => region === "a");
    if (kek === undefined || old === undefined) throw new Error("no KEK of region a");
    await keks.rewrap("i", kek.id, old.blob, { ...old, blob: randomBytes(60) });
    return kek.id;
  }

  test("is replaced by a new wrap of the other region's KEK, which is zeroed", async () => {
    const sealed = await ringOf("a", () => ["a"]).seal(binding, secret);
    await adoptAll();
    const id = await broken();
    await expect(async () => ringOf("a").open(binding, sealed)).rejects.toThrow(SealBroken);
    const given: Uint8Array[] = [];
    const mending = ringOf("a", undefined, async (...of) => {
      const plain = await ringOf("b").plaintextFor(...of);
      given.push(plain);
      return plain;
    });
    expect(Buffer.from(await mending.open(binding, sealed))).toEqual(secret);
    expect(given.map((plain) => plain.some((byte) => byte !== 0))).toEqual([false]);
    expect(Buffer.from(await ringOf("a").open(binding, sealed))).toEqual(secret);
    expect((await keks.list("i"))[0]?.id).toBe(id);
  });

  test("is replaced by a new wrap of the open KEK, regardless of the other region", async () => {
    const refuses = () => Promise.reject(new KeyRingUnavailable(false, "not given"));
    const ring = ringOf("a", () => ["a"], refuses);
    const sealed = await ring.seal(binding, secret);
    await broken();
    nowMs += 10_000;
    expect(Buffer.from(await ring.open(binding, sealed))).toEqual(secret);
    expect(Buffer.from(await ringOf("a").open(binding, sealed))).toEqual(secret);
  });

  test("stays as it is if another root of trust made it: this node has the wrong one", async () => {
    const sealed = await ringOf("a", () => ["a"]).seal(binding, secret);
    await adoptAll();
    const [before] = await keks.list("i");
    const right = roots["a"];
    const wrong = new MemoryRootOfTrust(ids);
    wrong.describe = async () => ({ kind: "memory", name: "another", currentVersion: "1" });
    roots = { ...roots, a: wrong };
    const ring = ringOf("a", undefined, (...of) => ringOf("b").plaintextFor(...of));
    await expect(async () => ring.open(binding, sealed)).rejects.toThrow(SealBroken);
    expect(await keks.list("i")).toEqual([before]);
    roots = { ...roots, ...(right && { a: right }) };
    expect(Buffer.from(await ringOf("a").open(binding, sealed))).toEqual(secret);
  });

  test("stays broken if the other region gives another key", async () => {
    const sealed = await ringOf("a", () => ["a"]).seal(binding, secret);
    await broken();
    const other = ringOf("a", undefined, async () => randomBytes(32));
    await expect(async () => other.open(binding, sealed)).rejects.toThrow(SealBroken);
  });
});
