import { partitionOf } from "@holdfast/engine";
import { expect, test } from "vitest";
import { partitionKeys } from "../../packages/redis/src/connection/keys.ts";
import { differences } from "../chaos/same-stores.ts";
import { dumpOf, replaceAll } from "../support/dump.ts";
import { recordOf } from "../support/record.ts";
import { RedisServer } from "../support/redis.ts";
import { create, installed, openNewStore } from "../support/redis-store.ts";

test("two stores are the same only if their records, digests and reservations are", async () => {
  await using redis = await RedisServer.start();
  await using copy = await RedisServer.start();
  await using opened = await openNewStore({ address: redis.address });
  const { store } = opened;
  const instance = await installed(store);
  const { uniqueIdentifier } = await create(store, instance);
  await create(store, instance);
  const compare = async (): Promise<readonly string[]> => await differences(redis, copy);
  const copied = async (): Promise<void> => await replaceAll(copy, await dumpOf(redis));
  await copied();
  expect(await compare()).toEqual([]);
  const { key } = await recordOf(copy, uniqueIdentifier);
  const identifier = uniqueIdentifier.replaceAll("-", "");
  const { digests } = partitionKeys(partitionOf(instance));
  await copy.command("del", key);
  expect(await compare()).toEqual([
    expect.stringMatching(`^record ${identifier}: tag \\w{32} in region a, none in region b$`),
    expect.stringMatching(/^region b: the digests of \{p\d\d\}: are not those of its records$/),
  ]);
  await copied();
  await copy.command("setrange", digests, 7, "x");
  expect(await compare()).toEqual([expect.stringMatching(/^region b: the digests of /)]);
  await store.reserve(instance, [uniqueIdentifier], "one");
  await copied();
  const held = (region: string) => [
    `region ${region}: record ${identifier} is reserved`,
    expect.stringMatching(`^region ${region}: 1 reservations in \\{p`),
  ];
  expect(await compare()).toEqual([...held("a"), ...held("b")]);
});
