import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { partitionOf, StoreUnavailable } from "@holdfast/engine";
import { until } from "@holdfast/testing";
import { describe, expect, test } from "vitest";
import { partitionKeys } from "../../packages/redis/src/connection/keys.ts";
import { readPartitionHead } from "../../packages/redis/src/connection/record-header.ts";
import { dumpOf, replaceAll } from "../support/dump.ts";
import { RedisServer } from "../support/redis.ts";
import {
  create,
  initStore,
  installed,
  openNewStore,
  openStore,
  patientOptions,
  refusingOptions,
} from "../support/redis-store.ts";

const everything = { live: true, destroyed: true, limit: 50 };

describe('a store without its data never answers "not found":', () => {
  test("FLUSHALL", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const { store } = opened;
    const instance = await installed(store);
    const { uniqueIdentifier } = await create(store, instance);
    await redis.command("flushall");
    const unavailable = { failure: "notInitialised" };
    for (const call of [
      () => store.read(instance, [uniqueIdentifier]),
      () => store.read(instance, [randomUUID()]),
      () => store.find(instance, everything),
      () => create(store, instance),
      () => store.position(),
      () => store.changes(0, 0, 10, 1_000),
      () => store.levels(),
      () => store.reserve(instance, [uniqueIdentifier], "one"),
      () => store.status(instance),
      () => store.appendAudit(instance, [], true).then(() => create(store, instance)),
    ]) {
      await expect(call()).rejects.toMatchObject(unavailable);
    }
    expect(store.state()).toBe("none");
    expect((await redis.command("dbsize")) as number).toBe(0);
  });

  test("another store in its place, which is refused until the node's own is back", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const { store } = opened;
    const began = store.storeId;
    const instance = await installed(store);
    const { uniqueIdentifier } = await create(store, instance);
    const kept = await dumpOf(redis);
    await redis.restart({ empty: true });
    const made = await initStore({ address: redis.address });
    const message = `this node began with store ${began}, but Redis ${redis.address} holds store ${made.storeId}; restore the data of ${began}, or restart the node if ${made.storeId} is meant`;
    await until("it is refused with the reason", async () => {
      const read = store.read(instance, [uniqueIdentifier]);
      const failure = await read.then(
        () => new Error("answered"),
        (error: unknown) => error as Error,
      );
      expect(failure).toBeInstanceOf(StoreUnavailable);
      return failure.message === message;
    });
    await expect(create(store, instance)).rejects.toMatchObject({
      failure: "notInitialised",
      message,
    });
    expect(store.state()).toBe("none");
    // A node that starts now accepts it: with the restart the operator confirms it.
    await using restarted = await openStore({ address: redis.address, ...patientOptions });
    expect(restarted.store.storeId).toBe(made.storeId);
    await redis.command("flushall");
    // The marker comes last: once it is there, the node continues.
    const isMarker = ([key]: readonly [Buffer, Buffer]) => key.toString() === "{sys}:head";
    for (const [key, bytes] of kept.toSorted((a, b) => Number(isMarker(a)) - Number(isMarker(b)))) {
      await redis.command("restore", key, 0, bytes);
    }
    await until("its own is back", () => store.state() === "full");
    expect((await store.read(instance, [uniqueIdentifier]))[0]).toBeDefined();
  });

  test("a restart with an empty disk", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const { store } = opened;
    const instance = await installed(store);
    const { uniqueIdentifier } = await create(store, instance);
    await redis.restart({ empty: true });
    await until("it is seen", async () => {
      const read = store.read(instance, [uniqueIdentifier]);
      const failure = await read.then(
        (answer) => answer[0] ?? "not found",
        (error: StoreUnavailable) => error.failure,
      );
      expect(["noLease", "timeout", "notInitialised"]).toContain(failure);
      return failure === "notInitialised";
    });
  });

  test("another store at the same address, while connected", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const instance = await installed(opened.store);
    const { uniqueIdentifier } = await create(opened.store, instance);
    await redis.command("flushall");
    await initStore({ address: redis.address });
    await expect(opened.store.read(instance, [uniqueIdentifier])).rejects.toBeInstanceOf(
      StoreUnavailable,
    );
  });

  test("another store from one moment to the next, which gives a node no lease", async () => {
    await using redis = await RedisServer.start();
    await using other = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    await initStore({ address: other.address });
    expect(opened.store.state()).toBe("full");
    await replaceAll(redis, await dumpOf(other));
    await until("no lease", () => opened.store.state() === "none", 60_000);
  });

  test("an older copy at the same address, where a node's reads lead to once their connection is lost", async () => {
    await using redis = await RedisServer.start();
    await using older = await RedisServer.start();
    const place = { port: redis.port };
    await using named = await forward(place);
    await using opened = await openNewStore({ address: named.address, ...refusingOptions });
    const { store } = opened;
    const instance = await installed(store);
    await replaceAll(older, await dumpOf(redis));
    const { uniqueIdentifier } = await create(store, instance);
    const isFound = async (): Promise<boolean> => {
      const read = store.read(instance, [uniqueIdentifier]);
      const answer = await read.catch((error: unknown) => error);
      if (answer instanceof StoreUnavailable) return false;
      expect(answer).toEqual([expect.anything()]);
      return true;
    };
    expect(await isFound()).toBe(true);
    place.port = older.port;
    const clients = String(await redis.command("client", "list")).split("\n");
    for (const client of clients.filter((line) => line.includes("name=holdfast-read"))) {
      await redis.command("client", "kill", "id", /id=(\d+)/.exec(client)?.[1] ?? "");
    }
    await until("no answer", async () => !(await isFound()));
    for (let reads = 5; reads > 0; reads -= 1) await isFound();
    place.port = redis.port;
    await until("the own process again", isFound);
  });
});

/** Forwards connections to the port of 127.0.0.1 that `place` names when they come, as a name does that leads elsewhere. */
async function forward(place: { readonly port: number }) {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const target = connect(place.port, "127.0.0.1");
    for (const [one, other] of [[client, target] as const, [target, client] as const]) {
      sockets.add(one);
      one.pipe(other);
      one.on("error", () => undefined).once("close", () => other.destroy());
    }
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose](): Promise<void> {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

test("a cursor from a store that this one replaced covers nothing here", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
  const { store } = opened;
  const instance = await installed(store);
  const partition = partitionOf(instance);
  const { head, counters } = partitionKeys(partition);
  // What the other region's leader asks for.
  await store.changes(partition, 1_000, 10, 1_000_000);
  await store.leaves(partition, new Uint8Array(32).fill(255), 1_000);
  await create(store, instance);
  await until("the change is noted as covered, and no other", async () => {
    const [noted] = await redis.buffers("mget", head);
    const change = Number(await redis.command("hget", counters, "change"));
    return change > 0 && readPartitionHead(noted)?.covered === change;
  });
});
