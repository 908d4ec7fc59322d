import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError, KmipClient } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { answered, createKey, isBusy, keyBytes, stateOf } from "../support/keys.ts";
import { Load, say } from "../support/load.ts";
import { type Region, startRegion } from "../support/region.ts";
import { allLetIn, allRefuse, leaseIs, letIn, ms } from "../support/region-watch.ts";

const instance = "vcenter";

let region: Region;
let load: Load;

beforeAll(async () => {
  region = await startRegion({ instances: [instance], replicas: 1 });
});

afterAll(async () => {
  await region?.[Symbol.asyncDispose]();
});

// A node that lost its store opens its listener again only after it has been healthy for a while.
beforeEach(() => allLetIn(region, instance));

describe("under load, nothing that was acknowledged is lost", () => {
  beforeEach(async () => {
    load = await Load.start(region, { instance });
    await load.more("write", 60);
    return async () => load[Symbol.asyncDispose]();
  });

  /** Ends the load, reads everything back at both nodes and prints what happened. */
  async function nothingIsLost(): Promise<void> {
    await load.more("write", 30);
    await load.stop();
    await load.check();
    say(load.summary());
    expect(load.ledger.violations).toEqual([]);
  }

  /** Waits until both nodes read and write again, and prints when. */
  async function recovery(sinceMs: number, what: string): Promise<void> {
    const read = await load.recovered("read", sinceMs);
    const write = await load.recovered("write", sinceMs);
    say(`${what}: both nodes read after ${ms(read)}, write after ${ms(write)}`);
  }

  test("after kill -9 of a node: the other node continues, and the killed one comes back", async () => {
    const reader = await readAtEither();
    const killed = performance.now();
    await region.node(0).kill();
    say(`a node killed: the other writes after ${ms(await load.recovered("write", killed, [1]))}`);
    await sleep(300);
    const started = performance.now();
    await region.node(0).start();
    await recovery(started, "the node started again");
    say(`a client that knows both nodes read ${await reader.stop()} times meanwhile`);
    await nothingIsLost();
  });

  test("after kill -9 of Redis and a restart with its data (trap 26)", async () => {
    await region.redis.primary.kill();
    await allRefuse(region, instance);
    await region.redis.primary.restart();
    await recovery(performance.now(), "Redis killed and started again");
    await nothingIsLost();
  });

  test("while Redis is stopped for 3 s: both nodes refuse connections (trap 29)", async () => {
    const { primary } = region.redis;
    const stopped = performance.now();
    primary.signal("SIGSTOP");
    try {
      await allRefuse(region, instance);
      say(`Redis frozen: both nodes refuse connections after ${ms(performance.now() - stopped)}`);
      await sleep(Math.max(0, stopped + 3_000 - performance.now()));
    } finally {
      primary.signal("SIGCONT");
    }
    const thawed = performance.now();
    await recovery(thawed, "Redis thawed after 3 s");
    await allLetIn(region, instance);
    say(`both nodes let new connections in after ${ms(performance.now() - thawed)}`);
    await nothingIsLost();
  });

  test("while a replica is frozen: reads still work, and no change is acknowledged", async () => {
    const [replica] = region.redis.replicas;
    replica?.signal("SIGSTOP");
    try {
      await leaseIs(region.nodes, "readOnly");
      const since = performance.now();
      await load.recovered("read", since);
      await sleep(1_000);
      await load.recovered("read", since + 1_000);
      await until("a change is refused", () =>
        [...load.failures.keys()].some((failure) => failure.startsWith("write: cannot tell")),
      );
      expect(load.noneSince("write", since)).toBe(true);
    } finally {
      replica?.signal("SIGCONT");
    }
    await recovery(performance.now(), "the replica thawed");
    await nothingIsLost();
  });

  test("while Redis is full: reads still work, and changes are refused clearly until there is room", async () => {
    const { primary } = region.redis;
    await primary.command("config", "set", "maxmemory", "1mb");
    try {
      const full = performance.now();
      await load.recovered("read", full);
      await sleep(200);
      await load.recovered("read", performance.now());
      const client = await letIn(region, instance, 0);
      await until("a change is refused", async () => {
        const refusal = await createKey(client).catch((error: Error) => error);
        expect(isBusy(refusal)).toBe(true);
        return String(refusal).includes("the store is full");
      });
      await client.close();
    } finally {
      await primary.command("config", "set", "maxmemory", "0");
    }
    await recovery(performance.now(), "Redis has room again");
    await nothingIsLost();
  });

  test("after SIGTERM: the node drains and ends with code 0", async () => {
    const began = performance.now();
    const code = await region.node(0).stop();
    say(`SIGTERM under load: the node ended after ${ms(performance.now() - began)}`);
    expect(code).toBe(0);
    await load.recovered("write", performance.now(), [1]);
    await region.node(0).start();
    await recovery(performance.now(), "the node started again");
    await nothingIsLost();
    expect(load.ledger.doneUnanswered()).toEqual([]);
  });
});

/** Reads a key in a loop with a client that uses the other node if one fails; no read may fail. */
async function readAtEither(): Promise<{ stop(): Promise<number> }> {
  const targets = [0, 1].map((at) => region.target(instance, at));
  const [tls] = targets;
  if (tls === undefined) throw new Error("no node");
  const endpoints = targets.map(({ host, port }) => `${host}:${port}`);
  const client = await answered(() => KmipClient.connect({ endpoints, tls, version: "1.4" }));
  const id = await answered(() => createKey(client));
  let stopped = false;
  const work = async () => {
    let count = 0;
    for (; !stopped; count++) {
      await keyBytes(client, id).catch(async (error: unknown) => {
        // On a busy machine the other node may be without its lease for a moment, too.
        if (
          !isBusy(error) ||
          (error instanceof ConnectionError && (await region.node(1).ready()))
        ) {
          throw error;
        }
      });
      await sleep(5);
    }
    return count;
  };
  const reading = work();
  reading.catch(() => undefined);
  return {
    stop: async () => {
      stopped = true;
      const count = await reading;
      await client.close();
      return count;
    },
  };
}

test("a node that was stopped for longer than its lease gives no stale answer when it continues", async () => {
  await using one = await letIn(region, instance, 0);
  await using two = await letIn(region, instance, 1);
  const making = Array.from({ length: 8 }, () => answered(() => createKey(one)));
  const ids = await Promise.all(making);
  for (const id of ids) expect(await answered(() => stateOf(one, id))).toBe("PreActive");
  region.node(0).signal("SIGSTOP");
  await sleep(1_500);
  for (const uniqueIdentifier of ids) await answered(() => two.activate({ uniqueIdentifier }));
  const told = (error: Error) => (isBusy(error) ? "cannot tell" : error.message);
  const asked = ids.map((id) => stateOf(one, id).catch(told));
  await sleep(300);
  region.node(0).signal("SIGCONT");
  for (const state of await Promise.all(asked)) expect(state).toMatch(/^Active$|cannot tell/);
});

test("at SIGTERM a request in progress is answered, and its change is kept", async () => {
  const node = region.node(0);
  let id = "";
  // Where a busy machine freezes Redis for longer than a lease, the answer is that the node cannot tell.
  await until("a key that was made while the node ended", async () => {
    const client = await letIn(region, instance, 0);
    await answered(() => createKey(client));
    region.redis.primary.signal("SIGSTOP");
    const creating = createKey(client).catch((error: Error) => error);
    await sleep(100);
    const ended = node.stop();
    await sleep(100);
    region.redis.primary.signal("SIGCONT");
    const made = await creating;
    expect(await ended).toBe(0);
    await client.close();
    await node.start();
    if (made instanceof Error) return made;
    id = made;
    return true;
  });
  await using other = await letIn(region, instance, 1);
  expect(await answered(() => keyBytes(other, id))).toMatch(/^[0-9a-f]{64}$/);
  expect(await answered(() => stateOf(other, id))).toBe("PreActive");
});
