import { InstanceKeyRing, type KeyRing, ObjectKekStore, type ObjectStore } from "@holdfast/engine";
import type { Config } from "../config-table.ts";
import { openDefaultRoot } from "../root-settings.ts";
import { systemClock as clock, systemIds as ids } from "../system.ts";

/** Opens the keys of a store through the region's roots of trust, for a command that ends soon. */
export async function keyRingOver(
  config: Config,
  store: ObjectStore,
): Promise<Pick<KeyRing, "open" | "seal"> & Disposable> {
  const { region, rootOfTrust } = config;
  const root = await openDefaultRoot(config, process.env);
  const keyRing = new InstanceKeyRing({
    rootOf: () => root,
    keks: new ObjectKekStore(store, { clock, region }),
    clock,
    ids,
    observe: () => undefined,
    region,
    kekCacheMs: rootOfTrust.kekCacheMs,
    graceMs: rootOfTrust.graceMs,
  });
  return Object.assign(keyRing, { [Symbol.dispose]: () => keyRing.drop() });
}
