import { InstanceKeyRing, type KeyRing, ObjectKekStore } from "@holdfast/engine";
import { openRootOfTrust } from "@holdfast/root-of-trust";
import type { Machine } from "../../base/system.ts";
import type { Config } from "../../config/config-table.ts";
import { SystemView } from "../../records/system-view.ts";
import { Roots } from "../../roots/open/roots.ts";
import {
  openDefaultRoot,
  openSealingKey,
  rootContext,
  rootSettingsOf,
} from "../../roots/root-settings.ts";
import type { SystemStore } from "./archived-system.ts";

/** Where a command's keys come from. */
export interface KeyRingPlace {
  readonly config: Config;
  readonly machine: Machine;
  /** Regions that must have a wrap before anything is sealed; this one alone unless given. */
  readonly regions?: readonly string[];
}

/** A key ring of a command that ends soon. */
export type CommandKeyRing = Pick<KeyRing, "open" | "seal"> & AsyncDisposable;

/** Seals and opens what is in a store, with this region's roots of trust in the store's records. */
export async function keyRingOver(
  store: SystemStore,
  { config, machine, regions }: KeyRingPlace,
): Promise<CommandKeyRing> {
  const { region, rootOfTrust } = config;
  const { environment, clock, ids } = machine;
  const observe = (): void => undefined;
  await using opened = new AsyncDisposableStack();
  const context = rootContext(machine, observe);
  const root = await openDefaultRoot(config, environment, context);
  opened.defer(() => root.close());
  const sealingKey = await openSealingKey(config, ids);
  opened.defer(() => sealingKey?.close());
  const view = opened.use(
    new SystemView({ own: store, peers: [], monotonicMs: clock.monotonicMs, observe }),
  );
  await view.refresh();
  const roots = opened.use(
    new Roots({
      region,
      view,
      clock,
      open: async (reference) => {
        if (reference === undefined) return root;
        const settings = rootSettingsOf(config, { environment, sealingKey }, reference);
        return await openRootOfTrust(settings, context);
      },
    }),
  );
  const keyRing = new InstanceKeyRing({
    rootOf: (...of) => roots.rootOf(...of),
    keks: new ObjectKekStore(store, { clock, region }),
    clock,
    ids,
    observe,
    region,
    kekCacheMs: rootOfTrust.kekCacheMs,
    graceMs: rootOfTrust.graceMs,
    ...(regions !== undefined && { requiredRegions: () => regions }),
  });
  opened.defer(() => keyRing.drop());
  const running = opened.move();
  return {
    // It serves no client: what is withheld is proven, and restored, like everything else.
    open: (binding, sealed) => keyRing.holding(async () => keyRing.openAny(binding, sealed)),
    seal: (binding, plaintext) => keyRing.seal(binding, plaintext),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
