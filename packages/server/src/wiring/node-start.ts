import { setTimeout as delay } from "node:timers/promises";
import { type InstanceKeyRing, ObjectInstances, StoreUnavailable } from "@holdfast/engine";
import { filledOnce } from "../approvals/join-rules.ts";
import { OperatorError } from "../base/operator-error.ts";
import { InstanceKeeper } from "../management/instances/instance-keeper.ts";
import { defaultRootPlace } from "../roots/root-settings.ts";
import { startFault } from "../store/store-faults.ts";
import { clock, type Parts } from "./node-parts.ts";
import type { Regions } from "./node-regions.ts";
import type { Tenants } from "./node-tenants.ts";

/** How long a start waits until one of the regions can serve, before it continues without. */
const startWaitMs = 5000;
const againMs = 50;

/**
 * Makes the configured instances known, now and again where the store has other data. A node of two regions starts even
 * if neither store can be used: it reports that, admits no client until one can, and then makes the instances known. A
 * node of a region alone does not start then. While the other region fills a new store, keys may arrive that only a lost
 * root key opens: the node starts, and `root adopt` comes when the store is filled.
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
    rootFile: defaultRootPlace(config),
    instances: () => tenants.instances,
    observe,
  });
  opened.adopt(keeper, (one) => one.close());
  const isFilled = filledOnce(own);
  await keeper.ensureAll().catch(async (error: unknown) => {
    const passes =
      error instanceof StoreUnavailable ||
      (error instanceof OperatorError && !(await isFilled().catch(() => true)));
    if (config.peer !== undefined && passes) return;
    throw startFault(error, config.store, configFile);
  });
  return keeper;
}

/** Waits until the node can serve, for a bounded time. */
export async function waitUntilServing({ store }: Regions, keeper: InstanceKeeper): Promise<void> {
  const untilMs = clock.monotonicMs() + startWaitMs;
  while (store.serving().from === "none" && clock.monotonicMs() < untilMs) await delay(againMs);
  await keeper.look();
}
