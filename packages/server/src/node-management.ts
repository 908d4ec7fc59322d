import type { InstanceKeyRing } from "@holdfast/engine";
import { InstanceIndex } from "./management/instance-index.ts";
import { Records } from "./management/records.ts";
import { SystemView } from "./management/system-view.ts";
import { clock, ids, type Parts } from "./node-parts.ts";
import type { Regions } from "./node-regions.ts";
import type { Tenants } from "./node-tenants.ts";

/** What every part of management stands on. */
export interface Management {
  readonly view: SystemView;
  readonly index: InstanceIndex;
  readonly records: Records;
}

/** Follows the system records of all regions, from the own store or the other's. */
export function openView(
  { observe, opened }: Parts,
  { own, peers }: Pick<Regions, "own" | "peers">,
): SystemView {
  return opened.use(new SystemView({ own, peers, monotonicMs: clock.monotonicMs, observe }));
}

/** Opens what management reads and writes, and lets in whom the system records name. */
export async function openManagement(
  { config, opened }: Parts,
  { store, peers }: Regions,
  view: SystemView,
  keyRing: InstanceKeyRing,
  tenants: Tenants,
): Promise<Management> {
  const index = opened.use(new InstanceIndex(view));
  opened.use(tenants.follow(index, keyRing));
  const records = new Records({
    region: config.region,
    others: () =>
      peers.map(({ region }) => region).filter((region) => !store.records.isRetired(region)),
    store,
    view,
    clock,
    ids,
  });
  // Whoever is let in should be known before the first client comes; a store that is out must not keep the node waiting.
  await view.refresh().catch(() => undefined);
  return { view, index, records };
}
