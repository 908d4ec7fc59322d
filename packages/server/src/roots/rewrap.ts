import type { Clock, InstanceKeyRing, Rewrapped, WrappedKek } from "@holdfast/engine";
import { instanceRecordId, type Records } from "../records/records.ts";
import {
  namedRoots,
  type RootReference,
  rootChanges,
  sameReference,
} from "../records/root-reference.ts";
import type { Roots } from "./open/roots.ts";

export interface MoveRootsOptions {
  readonly region: string;
  readonly roots: Pick<Roots, "named" | "of" | "keks">;
  readonly keyRing: Pick<InstanceKeyRing, "rewrap">;
  readonly keks: { readonly list: (instance: string) => Promise<readonly WrappedKek[]> };
  readonly records: Pick<Records, "change">;
  readonly clock: Pick<Clock, "wallMs">;
}

/** What came of bringing an instance's KEKs under its root key. */
export interface Settled {
  readonly rewrapped: number;
  /** KEKs that others changed meanwhile, or that were not looked at. */
  readonly left: number;
}

/** Nodes whose view is older than this serve nobody: until then a KEK may still be made under the root that was left. */
const leaveAfterMs = 30_000;

/**
 * Brings KEKs under other root keys while the instance is used; nothing that they seal changes. Every step may be the
 * last before a crash: an instance's record names the root of trust that it is moved to before the first wrap is made by
 * it, and the one that it leaves until the last was replaced, and whoever settles it next goes on.
 */
export class MoveRoots {
  readonly #options: MoveRootsOptions;

  constructor(options: MoveRootsOptions) {
    this.#options = options;
  }

  /** Whether anything of an instance is known to remain, its root key being this one. */
  isUnsettled(
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
