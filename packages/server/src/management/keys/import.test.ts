import { randomUUID } from "node:crypto";
import { type Contract, contract, type Reply } from "@holdfast/admin";
import {
  InstanceKeyRing,
  type ManagedObject,
  partitionOf,
  StoreUnavailable,
  stateOf,
} from "@holdfast/engine";
import { MemoryKekStore, MemoryRootOfTrust, sampleObject } from "@holdfast/engine/testing";
import { attributeItem, objectItem, tags } from "@holdfast/kmip";
import { byteString, encode, type Item, structure } from "@holdfast/ttlv";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemIds as ids } from "../../base/system.ts";
import { type MemoryRegion, MemoryRegions } from "../../testing/memory-regions.ts";
import { type ImportDeps, importKeys } from "./import.ts";

const instance = "5d0a7a52-3b0c-4b60-9c2f-0f3b7d9a1e01";
const wallMs = () => 1_780_000_000_000;
const key1 = Buffer.from("00112233445566778899aabbccddeeff", "hex");
const key2 = Buffer.alloc(16, 7);

type Result = Reply<Contract["importKeys"]>["results"][number];

let regions: MemoryRegions;
let keyRing: InstanceKeyRing;

beforeEach(async () => {
  regions = new MemoryRegions();
  await regions.instance(instance);
  const root = new MemoryRootOfTrust(ids);
  keyRing = new InstanceKeyRing({
    ...{ rootOf: () => root, keks: new MemoryKekStore(), ids, region: "a" },
    ...{ clock: { wallMs, monotonicMs: () => 0 }, observe: () => undefined },
    ...{ kekCacheMs: 1e9, graceMs: 1e9 },
  });
});

afterEach(() => regions[Symbol.asyncDispose]());

const base64 = (item: Item): string => Buffer.from(encode(item)).toString("base64");

function given(identifier: string, key: Uint8Array = key1, more: readonly Item[] = []) {
  const object = objectItem("SymmetricKey", {
    keyBlock: {
      keyFormatType: "Raw",
      keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, key) },
      ...{ cryptographicAlgorithm: "AES", cryptographicLength: key.length * 8 },
    },
  });
  return {
    ...{ identifier, objectType: "SymmetricKey", state: "Active" },
    attributes: base64(structure(tags.Attributes.tag, more)),
    value: base64(object),
  } as const;
}

const name = (value: string): Item =>
  attributeItem("Name", { value, type: "UninterpretedTextString" });

/** Imports at a region; a test may stand in for parts of its store. */
async function importAt(
  { name: region, own, store }: MemoryRegion,
  keys: readonly object[],
  { of = instance, ...meddle }: Partial<ImportDeps["store"]> & { readonly of?: string } = {},
): Promise<Result[]> {
  const find: ImportDeps["store"]["find"] = (...asked) => own.find(...asked);
  // As in the product, what one region lacks is asked of the other.
  const other = regions.both.find((one) => one.name !== region) as MemoryRegion;
  const read: ImportDeps["store"]["read"] = async (id, asked) => {
    const [here, there] = [await own.read(id, asked), await other.own.read(id, asked)];
    return here.map((copy, at) => copy ?? there[at]);
  };
  const deps: ImportDeps = {
    ...{ region, keyRing, wallMs, approvedOnly: false, doubt: () => undefined },
    store: { ...store, find, read, ...meddle },
  };
  const principal = { name: "ada", id: "token-1", roles: [], instances: undefined, remote: "" };
  const call = { params: { instance: of }, body: { keys }, audit: "key.import", principal };
  return await importKeys(deps, of, { ...call, requestId: "r" } as never);
}

const outcomes = (results: readonly Result[]) => results.map(({ outcome }) => outcome);

async function stored({ own }: MemoryRegion, id: string): Promise<ManagedObject | undefined> {
  const [found] = await own.read(instance, [id]);
  return found?.object;
}

/** The events about a key in a region's trail, as text. */
function eventsOf({ own }: MemoryRegion, key: string): readonly string[] {
  return own
    .auditOf(instance)
    .filter(({ target }) => target === key)
    .map(({ action, outcome, reason, detail }) =>
      [action, outcome, detail?.["result"], reason ?? ""].join(" ").trim(),
    );
}

describe("an import of keys", () => {
  test("is in both regions, with the identifier, State and digest, and a repetition changes nothing", async () => {
    const [one, two] = [ids.uuid(), ids.uuid()];
    const first = await importAt(regions.a, [given(one), given(two, key2)]);
    expect(outcomes(first)).toEqual(["Imported", "Imported"]);
    expect(first[0]?.digest).toMatch(/^[0-9a-f]{64}$/);
    const [inA, inB] = [await stored(regions.a, one), await stored(regions.b, one)];
    expect(inA).toEqual(inB);
    expect(inA && stateOf(inA.facts)).toBe("Active");
    const again = await importAt(regions.b, [given(two, key2), given(one)]);
    expect(again).toEqual(
      [first[1], first[0]].map((result) => ({ ...result, outcome: "AlreadyThere" })),
    );
    expect(await stored(regions.b, one)).toEqual(inA);
  });

  test("says at each repetition which attributes do not come", async () => {
    const id = ids.uuid();
    const own = [attributeItem("LeaseTime", 7)];
    const results = [
      ...(await importAt(regions.a, [given(id, key1, own)])),
      ...(await importAt(regions.b, [given(id, key1, own)])),
    ];
    expect(results.map(({ outcome, left }) => [outcome, left])).toEqual([
      ["Imported", ["Lease Time"]],
      ["AlreadyThere", ["Lease Time"]],
    ]);
  });

  test("ends each key by itself: one that cannot come stops no other", async () => {
    const [good, taken, gone, other] = [ids.uuid(), ids.uuid(), ids.uuid(), ids.uuid()];
    await importAt(regions.a, [given(taken), given(gone), given(other, key1, [name("disk")])]);
    const before = await regions.a.own.read(instance, [gone]);
    const destroyed = { time: 5, region: "a" };
    const object = { ...(before[0]?.object as ManagedObject), material: undefined };
    const after = { ...object, facts: { destroyed } };
    const change = { kind: "update", before: before[0] as never, after } as const;
    await regions.a.own.commit(instance, [change], []);
    const results = await importAt(regions.a, [
      given(taken, key2),
      given(gone),
      given(ids.uuid(), key2, [name("disk")]),
      given("4711"),
      given(ids.uuid().toUpperCase()),
      { ...given(ids.uuid()), value: Buffer.from("no TTLV").toString("base64") },
      { ...given(ids.uuid()), state: "Compromised", objectType: "Certificate" },
      given(good, key2, [name("new")]),
      given(good, key1),
      given(ids.uuid(), key1, [name("new")]),
    ]);
    expect(results.map(({ outcome, reason = "" }) => [outcome, reason])).toEqual([
      ["Clash", expect.stringMatching(/identifier/)],
      ["Refused", expect.stringMatching(/destroyed here/)],
      ["Clash", expect.stringMatching(/Name/)],
      ["Refused", expect.stringMatching(/lower case.*re-key/)],
      ["Refused", expect.stringMatching(/lower case.*re-key/)],
      ["Refused", expect.stringMatching(/TTLV/)],
      ["Refused", expect.stringMatching(/type Certificate/)],
      ["Imported", ""],
      ["Refused", expect.stringMatching(/twice/)],
      ["Clash", expect.stringMatching(/Name/)],
    ]);
    expect(JSON.stringify(results)).not.toContain(key2.toString("hex"));
  });

  test.each(["a", "b"] as const)("refuses a Name that is taken, at region %s", async (at) => {
    await importAt(regions.b, [given(ids.uuid(), key1, [name("disk")])]);
    const results = await importAt(regions[at], [given(ids.uuid(), key2, [name("disk")])]);
    expect(outcomes(results)).toEqual(["Clash"]);
  });

  test("of one identifier in both regions at once has one winner, and loses no key", async () => {
    for (let round = 0; round < 10; round += 1) {
      const id = ids.uuid();
      const results = await Promise.all([
        importAt(regions.a, [given(id, key1)]),
        importAt(regions.b, [given(id, key2)]),
      ]);
      const found = results.flatMap(outcomes);
      expect(found.filter((one) => one === "Imported")).toHaveLength(1);
      expect(found).toContainEqual(expect.stringMatching(/Clash|TryAgain/));
      const copies = [await stored(regions.a, id), await stored(regions.b, id)];
      expect(copies[0]).toEqual(copies[1]);
      const winner = found[0] === "Imported" ? key1 : key2;
      expect(outcomes(await importAt(regions.a, [given(id, winner)]))).toEqual(["AlreadyThere"]);
      expect(await regions.a.own.quarantined()).toBe(0);
      expect(await regions.b.own.quarantined()).toBe(0);
    }
  });

  test("is not possible while the other region cannot be asked, and finishes later", async () => {
    const id = ids.uuid();
    regions.linked = false;
    const [result] = await importAt(regions.a, [given(id)]);
    expect(result).toMatchObject({ outcome: "TryAgain", reason: expect.stringMatching(/cut off/) });
    expect(await stored(regions.a, id)).toBeUndefined();
    regions.linked = true;
    expect(outcomes(await importAt(regions.a, [given(id)]))).toEqual(["Imported"]);
  });

  test("that ended between the regions is finished by its repetition", async () => {
    const id = ids.uuid();
    // The node was killed when one region had it.
    const half = await importAt(regions.a, [given(id)], {
      commit: async (of, changes, audit) => {
        await regions.a.own.commit(of, changes, audit);
        throw new StoreUnavailable("barrierShort", "not known to be durable in region b");
      },
    });
    expect(half[0]).toMatchObject({ outcome: "TryAgain", reason: expect.stringMatching(/or not/) });
    expect(await stored(regions.b, id)).toBeUndefined();
    expect(outcomes(await importAt(regions.a, [given(id)]))).toEqual(["AlreadyThere"]);
    expect(await stored(regions.b, id)).toEqual(await stored(regions.a, id));
  });

  test("takes no identifier that an object of another instance has, and does not say whose it is", async () => {
    let other = randomUUID();
    while (partitionOf(other) !== partitionOf(instance)) other = randomUUID();
    await regions.instance(other);
    const id = ids.uuid();
    expect(outcomes(await importAt(regions.a, [given(id)], { of: other }))).toEqual(["Imported"]);
    const [result] = await importAt(regions.a, [given(id)]);
    const mine = ids.uuid();
    await importAt(regions.a, [given(mine)]);
    const [same] = await importAt(regions.a, [given(mine, key2)]);
    expect(result).toEqual({ ...same, identifier: id });
    expect(result?.outcome).toBe("Clash");
  });

  test("tries each key alone where one record does not open", async () => {
    const [good, broken] = [ids.uuid(), ids.uuid()];
    const read: ImportDeps["store"]["read"] = async (of, asked) => {
      if (asked.includes(broken)) throw new StoreUnavailable("corrupt", "it does not decode");
      return await regions.a.own.read(of, asked);
    };
    const results = await importAt(regions.a, [given(good), given(broken)], { read });
    expect(outcomes(results)).toEqual(["Imported", "TryAgain"]);
  });

  test("tells nothing of a stored object that does not open", async () => {
    const sample = sampleObject(instance, ids.uuid());
    await regions.a.own.commit(instance, [{ kind: "create", after: sample }], []);
    const [result, other] = await importAt(regions.a, [
      given(sample.uniqueIdentifier),
      given(ids.uuid()),
    ]);
    expect([result?.outcome, other?.outcome]).toEqual(["TryAgain", "Imported"]);
  });

  test("leaves evidence of each key in both regions, and no material anywhere", async () => {
    const [good, bad] = [ids.uuid(), ids.uuid()];
    await importAt(regions.a, [given(good)]);
    await importAt(regions.a, [given(good)]);
    await importAt(regions.a, [given(good, key2)]);
    await importAt(regions.a, [{ ...given(bad), objectType: "Certificate" }]);
    expect(eventsOf(regions.a, good)).toEqual([
      "key.import pending Imported",
      "key.import success Imported",
      "key.import pending AlreadyThere",
      "key.import success AlreadyThere",
      "key.import pending Clash",
      "key.import failure Clash conflict",
    ]);
    expect(eventsOf(regions.b, good)).toContain("key.import success Imported");
    expect(eventsOf(regions.a, bad)).toContain("key.import failure Refused invalid");
    for (const { own } of regions.both) {
      const all = JSON.stringify(own.auditOf(instance));
      for (const form of ["hex", "base64"] as const) {
        for (const key of [key1, key2]) expect(all).not.toContain(key.toString(form));
      }
    }
  });

  test("is refused as a whole in an instance that takes no changes", async () => {
    for (const { own } of regions.both) {
      await own.instances.move(instance, ["Installed"], "Removing");
    }
    await expect(importAt(regions.a, [given(ids.uuid())])).rejects.toMatchObject({
      code: "wrongState",
    });
  });
});

describe("the contract of an import", () => {
  const body = contract.importKeys.body;
  const one = given("6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00");

  test("bounds what a call may bring, and never keeps it for a repetition", () => {
    const many = (count: number) => ({ keys: Array.from({ length: count }, () => one) });
    expect(body.safeParse(many(50)).success).toBe(true);
    expect(body.safeParse(many(51)).success).toBe(false);
    expect(body.safeParse(many(0)).success).toBe(false);
    const large = { ...one, value: "A".repeat(131_076) };
    expect(body.safeParse({ keys: [large] }).success).toBe(false);
    expect(body.safeParse({ keys: [{ ...one, state: "Destroyed" }] }).success).toBe(false);
    expect(body.safeParse({ keys: [{ ...one, objectType: "Template" }] }).success).toBe(false);
    expect(contract.importKeys.repeatable).toBe(true);
  });
});
