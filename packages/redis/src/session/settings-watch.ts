import { StoreUnavailable } from "@holdfast/engine";
import type { Connection } from "../connection/connection.ts";
import type { StoreSettings } from "../connection/options.ts";
import { readRole } from "../connection/replies.ts";
import { sleep } from "../connection/timers.ts";
import type { SentinelSurvey, SentinelWatch } from "./sentinels.ts";
import { checkReplicas, checkSettings } from "./settings-check.ts";

/** What is watched while a node uses one primary process. */
export interface WatchedStore {
  readonly settings: StoreSettings;
  readonly sentinels: SentinelWatch | undefined;
  /** A connection to the primary that carries no barrier; undefined without one. */
  readonly connection: () => Connection | undefined;
  readonly over: () => boolean;
}

/**
 * Checks every `settingsCheckMs` what was checked when the store was opened: a `CONFIG SET` or `SENTINEL SET` may have
 * changed it since. Resolves when it is over; rejects with `StoreUnavailable("unsafe")` as soon as a setting would lose data.
 */
export async function watchSettings(store: WatchedStore): Promise<void> {
  const { settings, over } = store;
  for (;;) {
    await sleep(settings.timers, settings.settingsCheckMs, { background: true });
    if (over()) return;
    try {
      await checkAgain(store);
    } catch (error) {
      // The users of a lost or late connection notice that by themselves.
      const wrong = !(error instanceof StoreUnavailable) || error.failure === "unsafe";
      if (wrong && !over()) throw error;
    }
  }
}

async function checkAgain({ settings, sentinels, connection }: WatchedStore): Promise<void> {
  if (sentinels !== undefined) checkSentinels(await sentinels.survey(), settings);
  const primary = connection();
  if (primary === undefined) return;
  await checkSettings(primary, settings);
  const { replicas } = readRole(await primary.call("role"));
  await checkReplicas(settings, replicas);
}

/** Refuses Sentinels that could promote a replica within a lease, or while most of them still hear the primary. */
export function checkSentinels(
  { downAfterMs, weak }: SentinelSurvey,
  { storeLeaseMs, name }: StoreSettings,
): void {
  if (downAfterMs <= storeLeaseMs) {
    throw new StoreUnavailable(
      "unsafe",
      `a Sentinel's down-after-milliseconds is ${downAfterMs}: set it above the store lease (${storeLeaseMs} ms)`,
    );
  }
  if (weak === undefined) return;
  const needed = Math.floor(weak.sentinels / 2) + 1;
  throw new StoreUnavailable(
    "unsafe",
    `a Sentinel's quorum is ${weak.quorum} of ${weak.sentinels} Sentinels: run SENTINEL SET ${name} quorum ${needed} on each of them`,
  );
}
