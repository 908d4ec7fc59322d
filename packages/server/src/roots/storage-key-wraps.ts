import type { RootOfTrust } from "@holdfast/engine";
import {
  nodeTimers,
  type RedisStore,
  type StorageKeyWrap,
  type StoreTimers,
} from "@holdfast/redis";
import type { ReportRow } from "./root-status.ts";

interface StorageKeyWrapsOptions {
  readonly region: string;
  readonly own: Pick<RedisStore, "storageKeyWraps">;
  /** The configured root of trust, which wraps the store's keys. */
  readonly root: () => Promise<Pick<RootOfTrust, "describe">>;
  readonly everyMs: number;
  /** How it waits; Node's timers unless given. */
  readonly timers?: Pick<StoreTimers, "after">;
}

/** In a report, the place of an instance's name. */
const storageKeyName = "(storage key)";

/**
 * Looks regularly at the wraps of the own store's keys, so that every node keeps the present ones, and tells under which
 * version of the root key they are: who deletes that version loses the store.
 */
export class StorageKeyWraps implements Disposable {
  readonly #options: StorageKeyWrapsOptions;
  #seen: ReportRow | undefined;
  #cancel: () => void = () => undefined;
  #closed = false;

  constructor(options: StorageKeyWrapsOptions) {
    this.#options = options;
    this.#again(0);
  }

  /** Looks now; also says what is missing or damaged in Redis. Rejects with what the store or the root of trust says. */
  async look(): Promise<ReportRow & { readonly faults: readonly string[] }> {
    const { own, root, region } = this.#options;
    const { wraps, faults } = await own.storageKeyWraps();
    const { name, currentVersion } = await (await root()).describe();
    this.#seen = rowOf(region, wraps, { name, currentVersion });
    return { ...this.#seen, faults };
  }

  /** The same for a report; where it cannot be known now, or where Redis lacks it, a row that counts as stale. */
  async row(): Promise<ReportRow> {
    const look = await this.look().catch(() => undefined);
    const row = this.#seen ?? unknownStorageKey(this.#options.region);
    if (look?.faults.length === 0) return row;
    return { ...row, state: "unchecked", stale: Math.max(1, row.stale) };
  }

  /** What the last look has found; nothing before the first. */
  counts(): { readonly current: number; readonly stale: number } {
    const { versions = {}, stale = 0 } = this.#seen ?? {};
    const all = Object.values(versions).reduce((sum, count) => sum + count, 0);
    return { current: all - stale, stale };
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#cancel();
  }

  #again(ms: number): void {
    if (this.#closed) return;
    const { timers = nodeTimers, everyMs } = this.#options;
    const look = () =>
      void this.look()
        .catch(() => undefined)
        .finally(() => this.#again(everyMs));
    this.#cancel = timers.after(ms, look, true);
  }
}

/** The row of a region whose storage key could not be looked at: nothing may be deleted because of it. */
export function unknownStorageKey(region: string): ReportRow {
  return {
    ...{ instance: "", name: storageKeyName, region, root: "", state: "unchecked" },
    ...{ currentVersion: "", versions: {}, stale: 1 },
  };
}

function rowOf(
  region: string,
  wraps: readonly StorageKeyWrap[],
  { name: root, currentVersion }: { readonly name: string; readonly currentVersion: string },
): ReportRow {
  const versions: Record<string, number> = {};
  let stale = 0;
  for (const { rootOfTrust, rootKeyVersion } of wraps) {
    const isOwn = rootOfTrust === root;
    const label = isOwn ? rootKeyVersion : `${rootOfTrust} ${rootKeyVersion}`;
    versions[label] = (versions[label] ?? 0) + 1;
    if (!isOwn || rootKeyVersion !== currentVersion) stale += 1;
  }
  return {
    ...{ instance: "", name: storageKeyName, region, root, state: "usable" },
    ...{ currentVersion, versions, stale },
  };
}
