import { randomUUID } from "node:crypto";
import { until } from "@holdfast/testing";
import { describe, expect, test } from "vitest";
import { sentinelName, startGroup } from "../support/redis.ts";
import {
  type OpenStore,
  openNewStore,
  openStore,
  refusingOptions,
} from "../support/redis-store.ts";

function says(told: { readonly reason: string }, reason: string): boolean {
  return told.reason.includes(reason);
}

describe("a setting that is changed later is noticed: nothing is promised until it is corrected", () => {
  /** Changes something, waits for the end of the lease and its reason, changes it back, waits for the lease. */
  async function noticed(
    opened: OpenStore,
    change: () => Promise<unknown>,
    correct: () => Promise<unknown>,
    reason: string,
  ): Promise<void> {
    const { store, events } = opened;
    await until("a lease", () => store.state() === "full");
    const before = events.length;
    await change();
    await until("no lease", () => store.state() === "none");
    await until("the reason is reported", () =>
      events.slice(before).some((event) => event.type === "lease" && says(event, reason)),
    );
    await until("an operation is refused for this reason", async () => {
      const refused = await store.install(randomUUID()).catch((error: Error) => error);
      return refused instanceof Error && says({ reason: refused.message }, reason);
    });
    await correct();
    await until("a lease again", () => store.state() === "full");
  }

  test.each([
    ["appendfsync", "everysec", "always"],
    ["maxmemory-policy", "allkeys-lru", "noeviction"],
    ["appendonly", "no", "yes"],
  ])("%s %s", async (name, bad, good) => {
    await using group = await startGroup({ replicas: 1 });
    const { primary, replicas } = group;
    await using opened = await openNewStore({
      ...{ address: primary.address, ...refusingOptions },
      settingsCheckMs: 50,
    });
    for (const server of [primary, ...replicas]) {
      const set = (value: string) => () => server.command("config", "set", name, value);
      await noticed(opened, set(bad), set(good), `Redis ${server.address}: ${name} is ${bad}`);
    }
  });

  test("down-after-milliseconds and quorum of one Sentinel", async () => {
    await using group = await startGroup({ replicas: 1, sentinels: 3, downAfterMs: 10_000 });
    const sentinels = group.sentinels.map(({ address }) => address);
    const watched = { sentinels, name: sentinelName, ...refusingOptions };
    const options = { ...watched, storeLeaseMs: 8_000, settingsCheckMs: 50 };
    await using opened = await openNewStore(options);
    const set = (name: string, value: number) => () =>
      group.sentinels[2]?.command("sentinel", "set", sentinelName, name, value) ??
      Promise.reject(new Error("no Sentinel"));
    await noticed(
      opened,
      set("down-after-milliseconds", 900),
      set("down-after-milliseconds", 10_000),
      "a Sentinel's down-after-milliseconds is 900",
    );
    await noticed(opened, set("quorum", 1), set("quorum", 2), "a Sentinel's quorum is 1 of 3");
    await set("quorum", 1)();
    await expect(openStore(options)).rejects.toMatchObject({
      failure: "unsafe",
      message: expect.stringContaining("run SENTINEL SET holdfast quorum 2 on each of them"),
    });
  });
});
