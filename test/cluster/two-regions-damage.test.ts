import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeRecord } from "@holdfast/engine";
import { nameItem, sampleObject, sampleRegister } from "@holdfast/engine/testing";
import { type Attribute, attributeItem } from "@holdfast/kmip";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  deriveStorageKey,
  type StorageKeys,
} from "../../packages/redis/src/storage-keys/storage-keys.ts";
import { holdfast, settled } from "../support/command-line.ts";
import { answered, createKey, keyBytes, registerKey, stateOf } from "../support/keys.ts";
import { say } from "../support/load.ts";
import { storageKeysIn } from "../support/node-root.ts";
import { recordOf } from "../support/record.ts";
import type { RedisServer } from "../support/redis.ts";
import { ms } from "../support/region-watch.ts";
import { commitAs, newerValue, recordIn, withRecord } from "../support/stored-value.ts";
import type { TwoRegions } from "../support/two-regions.ts";
import {
  answerTo,
  type ClientsOfAll,
  insist,
  startWithClients,
  told,
} from "../support/two-regions-clients.ts";
import { allWell, caughtUp, vitalsOf } from "../support/vitals.ts";

const instance = "vcenter";

let both: TwoRegions;
let clients: ClientsOfAll;

beforeAll(async () => {
  ({ both, clients } = await startWithClients({ instances: [instance], replicas: 1 }));
});

afterAll(async () => {
  await clients?.[Symbol.asyncDispose]();
  await both?.[Symbol.asyncDispose]();
});

beforeEach(() => allWell(both));

describe("a damaged record is repaired from the other region, and never answered as absent:", () => {
  const damages: readonly [string, (value: Buffer) => Buffer][] = [
    ["random bytes", (value) => randomBytes(value.length)],
    ["no bytes", () => Buffer.alloc(0)],
    ["cut in the middle", (value) => value.subarray(0, value.length / 2)],
    ["one bit changed", (value) => flipped(value, Math.floor(value.length * 0.8))],
  ];

  test.each(damages)("%s", async (_, damage) => {
    const { primary } = both.a.redis;
    const id = await answered(() => createKey(clients.at("a1")));
    await answered(() => clients.at("b1").activate({ uniqueIdentifier: id }));
    const bytes = await answered(() => keyBytes(clients.at("b1"), id));
    const { key, value } = await recordOf(primary, id);
    await primary.command("set", key, damage(value));
    const damaged = performance.now();
    for (const node of ["a1", "a2"]) {
      await insist(async () => {
        const answer = await told(keyBytes(clients.at(node), id));
        expect(answer).not.toMatch(/^ItemNotFound/);
        expect(await keyBytes(clients.at(node), id)).toBe(bytes);
        expect(await stateOf(clients.at(node), id)).toBe("Active");
      });
    }
    say(`correct again ${ms(performance.now() - damaged)} after the damage`);
    const isSetAside = async () => {
      const vitals = await Promise.all(both.a.nodes.map(vitalsOf));
      return vitals.some(({ quarantined }) => quarantined > 0);
    };
    await until("the damaged record counted", isSetAside);
    // The store is repaired, not only the answer.
    await both.cut();
    try {
      await insist(async () => expect(await keyBytes(clients.at("a2"), id)).toBe(bytes));
    } finally {
      await both.heal();
    }
  });

  test("the leader finds it even if no client reads it", async () => {
    const { primary } = both.b.redis;
    const id = await answered(() => createKey(clients.at("a1")));
    const bytes = await answered(() => keyBytes(clients.at("b1"), id));
    await caughtUp(both);
    const { key, value } = await recordOf(primary, id);
    // Before the damage: the leader may find it at once, and have it repaired.
    await both.cut();
    await primary.command("set", key, randomBytes(value.length));
    // When it is cut off, region b answers "cannot tell", never "not found".
    const ask = () => keyBytes(clients.at("b1"), id);
    expect(await answerTo(ask)).toMatch(/^GeneralFailure: cannot tell/);
    await both.heal();
    await insist(async () => expect(await keyBytes(clients.at("b2"), id)).toBe(bytes));
  });
});

test("an object that was written without the store's key, and that no region has, is set aside, and ends no other search", async () => {
  const { primary } = both.a.redis;
  const client = clients.at("a1");
  const named = (value: string) => ({
    item: attributeItem("Name", { value, type: "UninterpretedTextString" }),
  });
  const genuine = await answered(() => registerKey(client, randomBytes(32), [named("genuine")]));
  const keys = await storageKeysIn(both.a);
  const { key, value } = await recordOf(primary, genuine);
  const model = decodeRecord(recordIn(keys, key, value));
  const after = sampleObject(model.instance, randomUUID(), [
    sampleRegister(nameItem("forged"), Date.now() * 1_000),
  ]);
  const stolen = { storeId: keys.storeId, region: "a", number: 1 };
  const thief = deriveStorageKey(randomBytes(32), stolen);
  // Before the commit: the leader may find it at once.
  const before = await setAside(primary);
  expect(await commitAs(thief, primary, [{ kind: "create", after }])).toBe("committed");
  const id = after.uniqueIdentifier;
  const located = async (...attributes: Attribute[]) =>
    (await client.locate({ attributes })).uniqueIdentifiers;
  const cannotTell = /^GeneralFailure: cannot tell/;
  for (let times = 0; times < 3; times++) {
    expect(await answerTo(() => keyBytes(client, id))).toMatch(cannotTell);
    // While a node serves from region b, that one searches its own store.
    await insist(async () => expect(await told(located(named("forged")))).toMatch(cannotTell));
  }
  // While region a's nodes serve from region b, nobody looks into this store.
  await until("it is set aside", async () => (await setAside(primary)) > before);
  expect(await setAside(primary)).toBe(before + 1);
  // By the node that a client asked, or by the leader.
  await until("told by a node", async () => {
    const said = both.a.nodes.map((node) => node.logText()).join("");
    return said.includes(`record ${id} is put in quarantine`);
  });
  expect(await answered(() => located(named("genuine")))).toEqual([genuine]);
  const all = await answered(() => located());
  expect(all).toContain(genuine);
  expect(all).not.toContain(id);
});

describe("a record that is newer than the other region's copy", () => {
  const deactivate = { revocationReason: { code: "CessationOfOperation" } } as const;

  /** Revokes a key; an attempt whose answer was lost may have succeeded. */
  async function revoked(node: string, id: string): Promise<void> {
    await insist(async () => {
      if ((await stateOf(clients.at(node), id)) === "Deactivated") return;
      await clients.at(node).revoke({ uniqueIdentifier: id, ...deactivate });
    });
  }

  /** Active in both regions; Deactivated in a alone, where the record is then `altered`. */
  async function revokedAlone(altered: (value: Buffer, key: Buffer) => Buffer) {
    const { primary } = both.a.redis;
    const id = await answered(() => createKey(clients.at("a1")));
    await insist(() => clients.at("b1").activate({ uniqueIdentifier: id }));
    await caughtUp(both);
    await both.cut();
    // A push that starts before a node knows of the cut may arrive after its end.
    const isCut = async () => !(await Promise.all(both.nodes.map(vitalsOf))).some((v) => v.peerUp);
    await until("every node knows of the cut", isCut);
    await revoked("a1", id);
    expect(await answered(() => stateOf(clients.at("a2"), id))).toBe("Deactivated");
    const { key, value } = await recordOf(primary, id);
    await primary.command("set", key, altered(value, key));
    await both.heal();
    await insist(async () => expect(await stateOf(clients.at("b1"), id)).toBe("Active"));
    const bytes = async () => (await recordOf(primary, id)).value;
    const putBack = () => primary.command("set", key, value);
    return { id, key, value, bytes, putBack };
  }

  /** How often each node of region a changed its store; undefined if one does not serve from its own. */
  async function storeChanges(): Promise<string | undefined> {
    const vitals = await Promise.all(both.a.nodes.map(vitalsOf));
    if (vitals.some(({ from }) => from !== "local")) return undefined;
    return vitals.map(({ servingChanges }) => servingChanges).join(", ");
  }

  /**
   * Expects that for a while no request in region a gets the older state. False if a node did not serve from its own store
   * all the time: region b's has the older state.
   */
  async function cannotTell(id: string): Promise<boolean> {
    const before = await storeChanges();
    if (before === undefined) return false;
    const said: string[] = [];
    for (let times = 0; times < 10; times++) {
      for (const node of ["a1", "a2"]) {
        for (const ask of [
          () => stateOf(clients.at(node), id),
          () => keyBytes(clients.at(node), id),
          () => clients.at(node).activate({ uniqueIdentifier: id }),
          () => clients.at(node).destroy({ uniqueIdentifier: id }),
        ]) {
          said.push(await answerTo(ask));
        }
      }
      await sleep(100);
    }
    if ((await storeChanges()) !== before) return false;
    for (const one of said) expect(one).toMatch(/^GeneralFailure: (cannot tell|refused)/);
    return true;
  }

  /**
   * Does a step, and does it again where a node lost its own store for a moment, as on a busy machine: then it serves from
   * region b's until the regions are level, which they are not here.
   */
  async function fromOwnStore(step: () => Promise<boolean>): Promise<void> {
    await until("region a's nodes serve from their own store", async () => {
      await allWell(both);
      return await step();
    });
  }

  test("and has an unknown format is not repaired or overwritten, and the region is not level", () =>
    fromOwnStore(async () => {
      const aside = await setAside(both.a.redis.primary);
      const keys = await storageKeysIn(both.a);
      const newer = (value: Buffer, key: Buffer) => newerValue(keys, key, value);
      const { id, key, value, bytes, putBack } = await revokedAlone(newer);
      try {
        if (!(await cannotTell(id))) return false;
        // A change in the other region is pushed, but must not replace the record either.
        await revoked("b1", id);
        if (!(await cannotTell(id))) return false;
        expect(await bytes()).toEqual(newer(value, key));
        expect(await setAside(both.a.redis.primary)).toBe(aside);
      } finally {
        // Puts the record back, as if the nodes knew the format. Until then no region is level.
        await putBack();
      }
      for (const node of ["a1", "a2", "b1", "b2"]) {
        await insist(async () => expect(await stateOf(clients.at(node), id)).toBe("Deactivated"));
      }
      return true;
    }));

  test("and is damaged is not repaired before the other region's copy has its last state", () =>
    fromOwnStore(async () => {
      const { id } = await revokedAlone((value) => flipped(value, value.length - 10));
      const isTold = await cannotTell(id);
      await revoked("b2", id);
      for (const node of ["a1", "a2", "b1", "b2"]) {
        await insist(async () => expect(await stateOf(clients.at(node), id)).toBe("Deactivated"));
      }
      return isTold;
    }));
});

describe("a record whose tag is right and whose sealed material does not open", () => {
  /** The position at which the item of the sealed material begins. */
  function materialAt(record: Buffer): number {
    const at = record.indexOf(Buffer.from([0x54, 0x00, 0x08, 0x08]));
    if (at < 0) throw new Error("the record has no material");
    return at;
  }

  function materialIn(value: Buffer): Buffer {
    const at = materialAt(value);
    return value.subarray(at, at + 8 + value.readUInt32BE(at + 4));
  }

  /** Changes one bit of the sealed material, and makes the header again, as a node does. */
  function broken(keys: StorageKeys, key: Buffer, value: Buffer, at: number): Buffer {
    const record = Buffer.from(recordIn(keys, key, value));
    const place = materialAt(record) + 8 + at;
    record[place] = (record[place] ?? 0) ^ 1;
    return withRecord(keys, key, value, record);
  }

  test.each([
    ["its ciphertext", 40],
    ["its nonce", 20],
    ["its key's identifier", 3],
  ])("because of one bit of %s is answered and healed from the other region", async (_, at) => {
    const { primary } = both.a.redis;
    const id = await answered(() => createKey(clients.at("a1")));
    await insist(() => clients.at("b1").activate({ uniqueIdentifier: id }));
    const bytes = await answered(() => keyBytes(clients.at("b1"), id));
    await caughtUp(both);
    const { key, value } = await recordOf(primary, id);
    const keys = await storageKeysIn(both.a);
    await primary.command("set", key, broken(keys, key, value, at));
    for (const node of ["a1", "a2"]) {
      await insist(async () => expect(await keyBytes(clients.at(node), id)).toBe(bytes));
    }
    // The store is healed, not only the answer.
    await both.cut();
    try {
      await insist(async () => expect(await keyBytes(clients.at("a2"), id)).toBe(bytes));
      expect(await answered(() => stateOf(clients.at("a1"), id))).toBe("Active");
    } finally {
      await both.heal();
    }
  });

  test("is healed by a change before any client asks for the key, and the change is in both regions", async () => {
    const { primary } = both.a.redis;
    const id = await answered(() => createKey(clients.at("b1")));
    await caughtUp(both);
    const { key, value } = await recordOf(primary, id);
    const material = materialIn(value);
    const keys = await storageKeysIn(both.a);
    await primary.command("set", key, broken(keys, key, value, 40));
    await insist(() => clients.at("a1").activate({ uniqueIdentifier: id }));
    await insist(async () => expect(await stateOf(clients.at("b1"), id)).toBe("Active"));
    await until("whole in region a", async () =>
      materialIn((await recordOf(primary, id)).value).equals(material),
    );
    expect(await answered(() => stateOf(clients.at("a2"), id))).toBe("Active");
  });

  test("is answered with cannot tell, and not replaced, if the other region is cut off or its copy is broken too", async () => {
    const id = await answered(() => createKey(clients.at("a1")));
    const bytes = await answered(() => keyBytes(clients.at("b1"), id));
    // The first answer with a key marks its record as served, and that change replaces the other region's copy.
    await caughtUp(both);
    const places = await Promise.all(
      [both.a, both.b].map(async (region, at) => {
        const { primary } = region.redis;
        const place = { primary, ...(await recordOf(primary, id)) };
        // Two copies that are broken in the same way would be equal.
        const keys = await storageKeysIn(region);
        return { ...place, is: broken(keys, place.key, place.value, 40 + at) };
      }),
    );
    const [inA, inB] = places;
    if (inA === undefined || inB === undefined) throw new Error("two regions");
    await inA.primary.command("set", inA.key, inA.is);
    await both.cut();
    const cannotTell =
      /^GeneralFailure: cannot tell: the stored material of this object does not open/;
    try {
      for (const node of ["a1", "a2"]) {
        await insist(async () =>
          expect(await told(keyBytes(clients.at(node), id))).toMatch(cannotTell),
        );
      }
      await inB.primary.command("set", inB.key, inB.is);
    } finally {
      await both.heal();
    }
    for (const node of ["a1", "b1", "a2", "b2"]) {
      await insist(async () =>
        expect(await told(keyBytes(clients.at(node), id))).toMatch(cannotTell),
      );
    }
    for (const { primary, is } of places) expect((await recordOf(primary, id)).value).toEqual(is);
    await inB.primary.command("set", inB.key, inB.value);
    for (const node of ["a1", "b1"]) {
      await insist(async () => expect(await keyBytes(clients.at(node), id)).toBe(bytes));
    }
  });
});

test("after FLUSHALL of a region's store its nodes serve from the other one, never say not found, and fill it once it is initialised", async () => {
  const make = () => answered(() => createKey(clients.at("a1")));
  const ids = await Promise.all(Array.from({ length: 30 }, make));
  const bytes = await Promise.all(ids.map((id) => answered(() => keyBytes(clients.at("b1"), id))));
  await caughtUp(both);
  const wrong = new Set<string>();
  let over = false;
  const watching = ["a1", "a2"].map(async (node) => {
    for (let at = 0; !over; at = (at + 1) % ids.length) {
      const answer = await told(keyBytes(clients.at(node), ids[at] ?? ""));
      if (!/^(answered|unreachable|lost|closed|timeout|GeneralFailure: cannot tell)/.test(answer)) {
        wrong.add(answer);
      }
      await sleep(3);
    }
  });
  await sleep(200);
  await both.a.redis.primary.command("flushall");
  const lost = performance.now();
  await sleep(100);
  for (const node of ["a1", "a2"]) {
    await insist(async () => expect(await keyBytes(clients.at(node), ids[0] ?? "")).toBe(bytes[0]));
    await insist(() => createKey(clients.at(node)));
  }
  say(`both nodes read and write ${ms(performance.now() - lost)} after their store was emptied`);
  const init = await settled(() =>
    holdfast("store", "init", "--config", both.node("a1").configFile),
  );
  say(`${init.out}${init.err}`.trim());
  expect(init.code).toBe(0);
  await allWell(both);
  say(`both nodes serve from their own store ${ms(performance.now() - lost)} after it was emptied`);
  over = true;
  await Promise.all(watching);
  expect([...wrong]).toEqual([]);
  await both.cut();
  try {
    for (const [at, id] of ids.entries()) {
      await insist(async () => expect(await keyBytes(clients.at("a1"), id)).toBe(bytes[at]));
    }
  } finally {
    await both.heal();
  }
});

/** How many records a store has in quarantine; the nodes' metric may be ten seconds old. */
async function setAside(redis: RedisServer): Promise<number> {
  const partitions = Array.from({ length: 64 }, (_, at) => String(at).padStart(2, "0"));
  const counts = partitions.map((name) => redis.command("hlen", `{p${name}}:quarantine`));
  return (await Promise.all(counts)).map(Number).reduce((sum, count) => sum + count, 0);
}

function flipped(value: Buffer, at: number): Buffer {
  const copy = Buffer.from(value);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}
