import { randomUUID } from "node:crypto";
import { groupItem, sampleObject, sampleRegister } from "@holdfast/engine/testing";
import { expect, test } from "vitest";
import { RedisServer } from "../support/redis.ts";
import { create, installed, openNewStore, patientOptions } from "../support/redis-store.ts";

test("a page of large objects ends early, so that it delays no other client", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({ address: redis.address, ...patientOptions });
  const { store } = opened;
  const instance = await installed(store);
  const group = sampleRegister(groupItem("g".repeat(200_000)), 1);
  for (let made = 0; made < 5; made++) {
    const after = sampleObject(instance, randomUUID(), [group]);
    await store.commit(instance, [{ kind: "create", after }], []);
  }
  const query = { live: true, destroyed: false, limit: 50 };
  const first = await store.find(instance, query);
  expect(first.objects).toHaveLength(2);
  const { next: after } = first;
  if (after === undefined) throw new Error("the page says that nothing follows");
  expect((await store.find(instance, { ...query, after })).objects).toHaveLength(2);
});

test("reads at the same time share an answer, in groups so small that nobody waits long", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({ address: redis.address, ...patientOptions });
  const { store } = opened;
  const instance = await installed(store);
  const { uniqueIdentifier } = await create(store, instance);
  await redis.command("config", "resetstat");
  const read = await Promise.all(
    Array.from({ length: 300 }, () => store.read(instance, [uniqueIdentifier])),
  );
  expect(
    read.filter(([stored]) => stored?.object.uniqueIdentifier === uniqueIdentifier),
  ).toHaveLength(300);
  const statistics = String(await redis.command("info", "commandstats"));
  const calls = Number(/cmdstat_mget:calls=(\d+)/.exec(statistics)?.[1]);
  expect(calls).toBeGreaterThanOrEqual(5);
  expect(calls).toBeLessThan(20);
});
