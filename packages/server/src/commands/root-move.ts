import { OperatorError } from "../base/operator-error.ts";
import type { Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import { openCommandRoot } from "../roots/command-root.ts";
import { defaultRootPlace } from "../roots/root-settings.ts";
import { openStoreOf } from "../store/open-store.ts";
import { appendTo, withEvidence } from "../store/operator-evidence.ts";
import { storeFault } from "../store/store-faults.ts";

/**
 * Wraps the storage keys of a region's store, which the root key of the configuration `from` opens, under the root key
 * that is configured now. Nodes that run keep what they have opened.
 */
export async function moveRoot(
  configFile: string,
  machine: Machine,
  from: string,
): Promise<string> {
  const config = loadConfig(configFile);
  await using opened = new AsyncDisposableStack();
  const root = opened.use(await openCommandRoot(config, machine));
  const { name } = await root.describe();
  try {
    const own = await openStoreOf(configFile, machine, opened, { rootFrom: from });
    const { rotation } = await own.storageKeyState();
    if (rotation !== undefined) {
      throw new OperatorError(
        "a rotation of the storage key is under way: wait until `holdfast storage-key show` says none",
        "again",
      );
    }
    const act = { action: "root.rewrap", target: config.region, detail: { root: name } } as const;
    const { rewrapped, left } = await withEvidence(appendTo(own), machine, act, () =>
      own.rewrapStorageKeys(root),
    );
    if (left > 0) {
      throw new OperatorError("another process wrapped a storage key meanwhile", "again");
    }
    const done = rewrapped === 0 ? "were there already" : `${rewrapped} moved`;
    return `storage keys of region ${config.region} are under ${name} (${defaultRootPlace(config)}) now: ${done}; give every node of the region this configuration, and restart one after the other`;
  } catch (error) {
    throw storeFault(error, config.store, configFile);
  }
}
