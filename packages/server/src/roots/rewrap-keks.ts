import {
  type Clock,
  type InstanceKeyRing,
  type Rewrapped,
  type RootOfTrust,
  RootOfTrustError,
  type WrappedKek,
} from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import type { Duty, DutyContext, DutyResult } from "@holdfast/regions";
import { instanceRecordId, type Records } from "../records/records.ts";
import {
  type NamedRoots,
  namedRoots,
  type RootReference,
  referenceText,
  rootChanges,
  sameReference,
} from "../records/root-reference.ts";
import { keyOf } from "./open/root-pool.ts";
import type { Roots } from "./open/roots.ts";

interface RewrapKeksOptions {
  readonly region: string;
  readonly roots: Pick<Roots, "named" | "of" | "keks" | "instances" | "record">;
  readonly keyRing: Pick<InstanceKeyRing, "rewrap">;
  readonly keks: { readonly list: (instance: string) => Promise<readonly WrappedKek[]> };
  readonly own: Pick<RedisStore, "rewrapStorageKeys">;
  readonly records: Pick<Records, "change">;
  readonly clock: Pick<Clock, "monotonicMs" | "wallMs">;
  readonly everyMs: number;
}

type LeftRoot = NamedRoots["left"][number];

/** The result of rewrapping an instance's KEKs under its root key. */
export interface Settled {
  readonly rewrapped: number;
  /** KEKs that another writer changed meanwhile, or that were not processed. */
  readonly left: number;
}

/** The result of a run for some of what is wrapped, and the first error after which it continued. */
interface Result extends DutyResult {
  readonly failure?: unknown;
}

/** Nodes with an older view serve no clients; until then a node may still create a KEK under the old root of trust. */
const leaveAfterMs = 30_000;

/** Instances per run: the leader has other duties too. */
const instancesPerRun = 100;

/**
 * Wraps KEKs under the current version of their root key, or under another root key, while the instance is in use; the
 * data that they seal does not change. Wraps the own store's keys under the current version of the configured root key. A crash may follow any step: an instance's record names the new root of trust
 * before its first wrap, and the old one until its last wrap was replaced. The next call for the instance continues.
 */
export class RewrapKeks implements Duty {
  readonly name = "rewrap-keks";
  readonly everyMs: number;
  readonly #options: RewrapKeksOptions;
  /** Instances that failed at their last attempt. */
  readonly #failed = new Set<string>();
  /** By instance: when this process first saw each root of trust that was left, monotonic: a wall clock may jump. */
  readonly #left = new Map<string, ReadonlyMap<string, number>>();

  constructor(options: RewrapKeksOptions) {
    this.#options = options;
    this.everyMs = options.everyMs;
  }

  /**
   * Rewraps the own store's keys, and the KEKs of every instance that needs it. Rejects if the store's keys fail, or an
   * instance although its target works; the others are done by then.
   */
  async run({ active }: DutyContext): Promise<DutyResult> {
    const { roots } = this.#options;
    const groups = Map.groupBy(roots.instances(), (instance) => {
      const { current, next } = roots.named(instance);
      return keyOf(next ?? current);
    });
    const [storageKeys, ...others] = await Promise.allSettled([
      this.#storageKeys(),
      ...[...groups.values()].map((instances) => this.#group(instances, active)),
    ]);
    const counts = [storageKeys, ...others].map((settled): Result => {
      if (settled.status === "rejected") throw settled.reason;
      return settled.value;
    });
    const failed = counts.find(({ failure }) => failure !== undefined);
    if (failed !== undefined) throw failed.failure;
    return {
      done: counts.reduce((sum, { done }) => sum + done, 0),
      left: counts.reduce((sum, { left }) => sum + left, 0),
    };
  }

  async #storageKeys(): Promise<DutyResult> {
    const { roots, own } = this.#options;
    const { rewrapped, restored, left } = await own.rewrapStorageKeys(await roots.of(undefined));
    return { done: rewrapped + restored, left };
  }

  /** Processes instances under one root key, one after another; stops if that root of trust fails. */
  async #group(instances: readonly string[], active: () => boolean): Promise<Result> {
    const { roots } = this.#options;
    let [done, left, looked] = [0, 0, 0];
    let failure: unknown;
    // What failed comes last: it keeps no others from their turn.
    const isLast = (instance: string) => Number(this.#failed.has(instance));
    for (const instance of instances.toSorted((one, other) => isLast(one) - isLast(other))) {
      if (!active()) return { done, left: left + 1, failure };
      try {
        const { next, current } = roots.named(instance);
        const target = await roots.of(next ?? current);
        const { name, currentVersion } = await target.describe();
        if (!this.#isUnsettled(instance, { name, version: currentVersion })) continue;
        looked += 1;
        if (looked > instancesPerRun) return { done, left: left + 1, failure };
        const settled = await this.#attempt(instance, target, active);
        done += settled.done;
        left += settled.left;
        failure ??= settled.failure;
      } catch (error) {
        left += 1;
        if (error instanceof RootOfTrustError) return { done, left, failure };
      }
    }
    return { done, left, failure };
  }

  /** Settles an instance. A failure is returned if the target works: the fault is in what this instance leaves. */
  async #attempt(
    instance: string,
    target: Pick<RootOfTrust, "validate">,
    active: () => boolean,
  ): Promise<Result> {
    this.#failed.delete(instance);
    try {
      const { rewrapped, left } = await this.settle(instance, { active });
      return { done: rewrapped, left };
    } catch (error) {
      this.#failed.add(instance);
      if (!(error instanceof RootOfTrustError)) throw error;
      await target.validate();
      const name = this.#options.roots.record(instance)?.name ?? instance;
      const message = `instance ${name}: a key-encryption key cannot be wrapped anew: ${error.message}`;
      const failure = new RootOfTrustError(error.failure, message, { cause: error });
      return { done: 0, left: 1, failure };
    }
  }

  /** Whether an instance has a move in progress, or a KEK under another root key or version than this one. */
  #isUnsettled(
    instance: string,
    root: { readonly name: string; readonly version: string },
  ): boolean {
    const { region, roots } = this.#options;
    const { next, left } = roots.named(instance);
    if (next !== undefined || left.length > 0) return true;
    return roots
      .keks(instance)
      .some(({ wraps }) =>
        wraps.some(
          (wrap) =>
            wrap.region === region &&
            (wrap.rootOfTrust !== root.name || wrap.rootKeyVersion !== root.version),
        ),
      );
  }

  /**
   * Wraps every KEK of an instance under its root key's current version. With `anySource`, a KEK whose own root of
   * trust is lost comes from memory or from the other region; an ordered move may always do so.
   */
  async settle(
    instance: string,
    how: { readonly anySource?: boolean; readonly active?: () => boolean } = {},
  ): Promise<Settled> {
    const { region, roots, keyRing, keks } = this.#options;
    const { current, next, left } = roots.named(instance);
    const anySource = how.anySource === true || next !== undefined || left.length > 0;
    const target = await roots.of(next ?? current);
    const results: Rewrapped[] = [];
    let failure: unknown;
    for (const kek of await keks.list(instance)) {
      // A KEK without a wrap of this region gets one elsewhere, from the other region's wrap.
      if (!kek.wraps.some((wrap) => wrap.region === region)) continue;
      if (how.active?.() === false) return settled(results, 1);
      try {
        results.push(await keyRing.rewrap(instance, kek, target, anySource));
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    const done = settled(results);
    if (done.left === 0) await this.#leave(instance, next);
    return done;
  }

  /** All KEKs are under the new root of trust: updates the record, unless another order has changed it meanwhile. */
  async #leave(instance: string, moved: RootReference | undefined): Promise<void> {
    const { region, roots, records, clock } = this.#options;
    const isOver = this.#overIn(instance);
    if (moved === undefined && !roots.named(instance).left.some(isOver)) return;
    await records.change(
      "Instance",
      instanceRecordId(instance),
      (record) => {
        const { current, next, left } = namedRoots(record, region);
        const kept = left.filter((one) => !isOver(one));
        if (moved === undefined) {
          return kept.length === left.length ? undefined : rootChanges(region, { left: kept });
        }
        // Another order came in between, and is carried out separately.
        if (!sameReference(next, moved)) return undefined;
        const gone = current === undefined ? [] : [{ reference: current, atMs: clock.wallMs() }];
        return rootChanges(region, { current: moved, left: [...kept, ...gone] }, { next: true });
      },
      [],
    );
  }

  /** Tells which roots of trust were left long enough ago, as far as this process has seen. */
  #overIn(instance: string): (one: LeftRoot) => boolean {
    const { roots, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    const before = this.#left.get(instance);
    const seen = new Map(
      roots.named(instance).left.map((one) => [nameOf(one), before?.get(nameOf(one)) ?? nowMs]),
    );
    if (seen.size === 0) this.#left.delete(instance);
    else this.#left.set(instance, seen);
    return (one) => nowMs - (seen.get(nameOf(one)) ?? nowMs) >= leaveAfterMs;
  }
}

function settled(results: readonly Rewrapped[], more = 0): Settled {
  const rewrapped = results.filter((result) => result === "moved" || result === "rewrapped").length;
  return { rewrapped, left: results.filter((result) => result === "raced").length + more };
}

function nameOf({ reference, atMs }: LeftRoot): string {
  return `${atMs} ${referenceText(reference)}`;
}
