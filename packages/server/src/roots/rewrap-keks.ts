import {
  type Clock,
  type InstanceKeyRing,
  type Rewrapped,
  RootOfTrustError,
  type WrappedKek,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "@holdfast/regions";
import { instanceRecordId, type Records } from "../records/records.ts";
import {
  namedRoots,
  type RootReference,
  rootChanges,
  sameReference,
} from "../records/root-reference.ts";
import { keyOf } from "./open/root-pool.ts";
import type { Roots } from "./open/roots.ts";

interface RewrapKeksOptions {
  readonly region: string;
  readonly roots: Pick<Roots, "named" | "of" | "keks" | "instances">;
  readonly keyRing: Pick<InstanceKeyRing, "rewrap">;
  readonly keks: { readonly list: (instance: string) => Promise<readonly WrappedKek[]> };
  readonly records: Pick<Records, "change">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly everyMs: number;
}

/** What came of bringing an instance's KEKs under its root key. */
export interface Settled {
  readonly rewrapped: number;
  /** KEKs that others changed meanwhile, or that were not looked at. */
  readonly left: number;
}

/** Nodes whose view is older than this serve nobody: until then a KEK may still be made under the root that was left. */
const leaveAfterMs = 30_000;

/** Instances a run: others' duties want the leader too. */
const instancesPerRun = 100;

/**
 * Brings KEKs under the present version of their root key, or under another root key, while the instance is used; nothing
 * that they seal changes. Every step may be the last before a crash: an instance's record names the root of trust that it
 * is moved to before the first wrap is made by it, and the one that it leaves until the last was replaced. The next call
 * for the instance continues.
 */
export class RewrapKeks implements Duty {
  readonly name = "rewrap-keks";
  readonly everyMs: number;
  readonly #options: RewrapKeksOptions;

  constructor(options: RewrapKeksOptions) {
    this.#options = options;
    this.everyMs = options.everyMs;
  }

  /** Settles every instance that needs it. */
  async run({ active }: DutyContext): Promise<DutyResult> {
    const { roots } = this.#options;
    const groups = Map.groupBy(roots.instances(), (instance) => {
      const { current, next } = roots.named(instance);
      return keyOf(next ?? current);
    });
    const counts = await Promise.all(
      [...groups.values()].map((instances) => this.#group(instances, active)),
    );
    return {
      done: counts.reduce((sum, { done }) => sum + done, 0),
      left: counts.reduce((sum, { left }) => sum + left, 0),
    };
  }

  /** Instances under one root key, one after another; when it does not answer, no more of them. */
  async #group(instances: readonly string[], active: () => boolean): Promise<DutyResult> {
    const { roots } = this.#options;
    let [done, left, looked] = [0, 0, 0];
    for (const instance of instances) {
      if (!active()) return { done, left: left + 1 };
      try {
        const { next, current } = roots.named(instance);
        const { name, currentVersion } = await (await roots.of(next ?? current)).describe();
        if (!this.#isUnsettled(instance, { name, version: currentVersion })) continue;
        looked += 1;
        if (looked > instancesPerRun) return { done, left: left + 1 };
        const settled = await this.settle(instance, { active });
        done += settled.rewrapped;
        left += settled.left;
      } catch (error) {
        left += 1;
        if (error instanceof RootOfTrustError) return { done, left };
      }
    }
    return { done, left };
  }

  /** Whether a KEK of an instance is known to be under another root key or version than this one. */
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
   * Brings every KEK of an instance under its root key's present version. With `anySource`, one whose own root of trust is
   * lost comes from memory or from the other region; a move that was ordered may do so anyway.
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
      // One without a wrap of this region gets it from the other's.
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

  /** Nothing is wrapped by another root of trust any more: the record says so, as far as it says still the same. */
  async #leave(instance: string, moved: RootReference | undefined): Promise<void> {
    const { region, roots, records, clock } = this.#options;
    const named = roots.named(instance);
    const nowMs = clock.wallMs();
    const old = named.left.some(({ atMs }) => nowMs - atMs >= leaveAfterMs);
    if (moved === undefined && !old) return;
    await records.change(
      "Instance",
      instanceRecordId(instance),
      (record) => {
        const { current, next, left } = namedRoots(record, region);
        const kept = left.filter(({ atMs }) => nowMs - atMs < leaveAfterMs);
        if (moved === undefined) {
          return kept.length === left.length ? undefined : rootChanges(region, { left: kept });
        }
        // Another order came in between, and is carried out by itself.
        if (!sameReference(next, moved)) return undefined;
        const gone = current === undefined ? [] : [{ reference: current, atMs: nowMs }];
        return rootChanges(region, { current: moved, left: [...kept, ...gone] }, { next: true });
      },
      [],
    );
  }
}

function settled(results: readonly Rewrapped[], more = 0): Settled {
  const rewrapped = results.filter((result) => result === "moved" || result === "rewrapped").length;
  return { rewrapped, left: results.filter((result) => result === "raced").length + more };
}
