import { setTimeout as delay } from "node:timers/promises";
import { type InstanceKeyRing, ObjectInstances, StoreUnavailable } from "@holdfast/engine";
import { InstanceKeeper } from "./instance-keeper.ts";
import { clock, type Parts } from "./node-parts.ts";
import type { Regions } from "./node-regions.ts";
import type { Tenants } from "./node-tenants.ts";
import { storeFault } from "./store-faults.ts";

/** How long a start waits until one of the two regions can serve. */
const startWaitMs = 15_000;
const againMs = 200;

/**
 * Makes the configured instances known. With another region that serves, a node starts although its own store cannot be
 * used: what is missing there is made up for as soon as it can be.
 */
export async function openInstances(
  parts: Parts,
  { own, store }: Regions,
  keyRing: InstanceKeyRing,
  tenants: Tenants,
): Promise<InstanceKeeper> {
  const { config, configFile, observe, opened } = parts;
  const writer = { clock, region: config.region };
  const keeper = new InstanceKeeper({
    store: new ObjectInstances(store, own, writer),
    own,
    keyRing,
    rootFile: config.rootOfTrust.file,
    instances: () => tenants.instances,
    observe,
  });
  opened.adopt(keeper, (one) => one.close());
  const untilMs = clock.monotonicMs() + startWaitMs;
  for (;;) {
    try {
      await keeper.ensureAll();
      return keeper;
    } catch (error) {
      const passes = error instanceof StoreUnavailable && config.peer !== undefined;
      if (passes && store.serving().from !== "none") return keeper;
      if (!passes || clock.monotonicMs() > untilMs) throw storeFault(error, config, configFile);
    }
    await delay(againMs);
  }
}
