import { setTimeout as sleep } from "node:timers/promises";
import { forgetReplica } from "@holdfast/redis";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Load, say } from "../support/load.ts";
import { type RedisServer, sentinelName } from "../support/redis.ts";
import { type Region, startRegion } from "../support/region.ts";
import { ms } from "../support/region-watch.ts";

const instance = "vcenter";

let region: Region;

beforeAll(async () => {
  region = await startRegion({
    instances: [instance],
    replicas: 2,
    replicasRequired: 1,
    sentinels: 3,
  });
});

afterAll(async () => {
  await region?.[Symbol.asyncDispose]();
});

test("a primary that thaws after its replica's promotion causes no stale answer and no loss", async () => {
  await using load = await Load.start(region, { instance });
  await load.more("write", 60);
  const old = region.redis.primary;
  const frozen = performance.now();
  old.signal("SIGSTOP");
  try {
    await until("a replica promoted", async () => (await region.redis.promoted()) !== old.address);
    say(`promoted after ${ms(performance.now() - frozen)}`);
    const read = await load.recovered("read", performance.now());
    say(`both nodes read again ${ms(read)} after that`);
    // The frozen server had a copy of every change: without it the nodes acknowledge no change.
    const since = performance.now();
    await sleep(1_000);
    expect(load.noneSince("write", since)).toBe(true);
    // An operator forgets it, so that changes are acknowledged that it has not seen.
    const forgotten = performance.now();
    await giveUp(old);
    say(`both nodes write ${ms(await load.recovered("write", forgotten))} after it is forgotten`);
    await load.more("write", 60);
  } finally {
    old.signal("SIGCONT");
  }
  // It still acts as primary and answers. Each answer is compared with the acknowledged changes.
  await load.more("read", 150);
  expect(await old.info("role")).toBe("master");
  const back = performance.now();
  const [host = "", port = ""] = (await region.redis.promoted()).split(":");
  await old.command("replicaof", host, port);
  await region.redis.at(`${host}:${port}`).replicasInStep(2);
  const write = await load.recovered("write", performance.now());
  say(
    `the old primary follows after ${ms(performance.now() - back)}, both nodes write ${ms(write)} later`,
  );
  await load.stop();
  await load.check();
  say(load.summary());
  expect(load.ledger.violations).toEqual([]);
});

/** Does what an operator does when a Redis will not come back. */
async function giveUp(gone: RedisServer): Promise<void> {
  const { sentinels } = region.redis;
  for (const sentinel of sentinels) await sentinel.command("sentinel", "reset", sentinelName);
  const access = { sentinels: sentinels.map(({ address }) => address), name: sentinelName };
  await until("the Redis forgotten", async () =>
    forgetReplica(access, gone.address).catch(() => false),
  );
}
