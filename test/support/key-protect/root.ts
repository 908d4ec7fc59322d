import type { Clock, Event, RootOfTrust } from "@holdfast/engine";
import { openRootOfTrust } from "@holdfast/root-of-trust";
import { systemClock, systemIds } from "../redis-store.ts";
import type { KeyManager } from "./index.ts";

/** The options of a root key in a stand-in. */
export interface RootOptions {
  readonly rootKey?: string;
  readonly keyRing?: string;
  readonly deadlineMs?: number;
  readonly inFlightMax?: number;
  readonly role?: "manager" | "reader";
  readonly apiKey?: () => Promise<string>;
  readonly observe?: (event: Event) => void;
  readonly clock?: Clock;
  readonly ca?: string;
}

/** Opens a root key of a stand-in as a node does. */
export async function openRoot(
  manager: KeyManager,
  { observe, clock, keyRing, ...options }: RootOptions,
): Promise<RootOfTrust & AsyncDisposable> {
  const { url, iamUrl, ca, instanceId, apiKey, kind } = manager;
  const common = {
    url,
    iamUrl,
    ca,
    instanceId,
    apiKey: async () => apiKey,
    // Longer than a busy machine gives the stand-in nothing.
    deadlineMs: 60_000,
    inFlightMax: 8,
    ...options,
  };
  return await openRootOfTrust(
    kind === "hpcs"
      ? { type: kind, ...common }
      : { type: kind, ...common, ...(keyRing !== undefined && { keyRing }) },
    { clock: clock ?? systemClock, ids: systemIds, observe: observe ?? (() => undefined) },
  );
}
