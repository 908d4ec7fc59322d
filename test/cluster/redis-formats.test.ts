import { until } from "@holdfast/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { requiredFormatPlace } from "../../packages/redis/src/session/formats.ts";
import { proveValue } from "../../packages/redis/src/storage-keys/value-proof.ts";
import { RedisServer } from "../support/redis.ts";
import {
  create,
  initStore,
  installed,
  type OpenStore,
  openNewStore,
  openStore,
  refusingOptions,
} from "../support/redis-store.ts";
import { storageKeysOf } from "../support/stored-value.ts";

/** A node that is silent for three times as long counts no more: a busy machine must not make one silent. */
const everyMs = 3_000;
let redis: RedisServer;
let old: OpenStore;
let instance: string;

const openAs = (recordFormat: number) =>
  openStore({
    ...{ address: redis.address, ...refusingOptions },
    ...{ recordFormat, formatsEveryMs: everyMs },
  });

/** Requires a format as a node does that has the store's key. */
async function requireFormat(format: string): Promise<void> {
  const { newest } = await storageKeysOf(redis);
  const proof = proveValue(newest, requiredFormatPlace, format);
  await redis.command("hset", "{sys}:formats", "required", format, "requiredProof", proof);
}

beforeAll(async () => {
  redis = await RedisServer.start();
  old = await openNewStore({
    ...{ address: redis.address, ...refusingOptions },
    ...{ recordFormat: 1, formatsEveryMs: everyMs },
  });
  instance = await installed(old.store);
});

afterAll(async () => {
  await old?.[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
});

test("a store refuses releases without proofs from its first moment, whatever record format they read", async () => {
  await using server = await RedisServer.start();
  await initStore({ address: server.address });
  expect(await server.command("hget", "{sys}:formats", "required")).toBe("2");
  // Such a release counts one format less than a present one.
  await expect(openStore({ address: server.address, recordFormat: 0 })).rejects.toThrow(
    /needs nodes that read record format 1, and this release reads formats up to 0: upgrade/,
  );
});

test("a node of a newer format reads, but does not write that format before every node reads it", async () => {
  const object = await create(old.store, instance);
  await using newer = await openAs(2);
  const read = async () => (await newer.store.read(instance, [object.uniqueIdentifier]))[0];
  expect((await read())?.object).toEqual(object);
  const before = await read();
  if (before === undefined) throw new Error("not read");
  const after = { ...object, lastChange: object.lastChange + 1 };
  const change = () => newer.store.commit(instance, [{ kind: "update", before, after }], []);
  await expect(change()).rejects.toMatchObject({ failure: "formatNotAgreed" });
  expect(await newer.store.markServed(instance, before, after)).toBe(false);
  // Other regions could decide what this node cannot make.
  const reserving = newer.store.reserve(instance, [object.uniqueIdentifier], "operation");
  await expect(reserving).rejects.toMatchObject({ failure: "formatNotAgreed" });
  expect((await read())?.object).toEqual(object);

  const epoch = await old.store.newEpoch();
  expect(newer.store.formats()).toEqual({ required: 1, common: 1 });
  expect(await newer.store.requireFormat(2, epoch)).toBe(false);
  await old[Symbol.asyncDispose]();
  // A silent node no longer counts.
  await until("only the newer node counts", async () => newer.store.formats()?.common === 2);
  const next = await newer.store.newEpoch();
  expect(await newer.store.requireFormat(2, next)).toBe(true);
  await until("the format required", async () => newer.store.formats()?.required === 2);
  expect(await change()).toEqual({ kind: "committed" });

  // From now on an older node does not start, and one line says why.
  await expect(openAs(1)).rejects.toThrow(
    /needs nodes that read record format 2, and this release reads formats up to 1: upgrade this node/,
  );
});

test("a running node that does not know the required format stops within its lease", async () => {
  await using newer = await openAs(2);
  await requireFormat("4");
  await until("the lease ended", async () => newer.store.state() === "none");
  await expect(
    newer.store.read(instance, ["00000000-0000-4000-8000-000000000000"]),
  ).rejects.toThrow(/needs nodes that read record format 3/);
  await requireFormat("3");
  await until("it is used again", async () => newer.store.state() === "full");
});
