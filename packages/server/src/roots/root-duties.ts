import { RootOfTrustError } from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "@holdfast/regions";
import { keyOf } from "./open/root-pool.ts";
import type { Roots } from "./open/roots.ts";
import type { MoveRoots } from "./rewrap.ts";
import type { ValidateRoots } from "./validate.ts";

/** Asks from time to time whether every root key may still be used. */
export class ValidateRootsDuty implements Duty {
  readonly name = "validate-roots";
  readonly everyMs: number;
  readonly #validate: Pick<ValidateRoots, "all">;

  constructor(validate: Pick<ValidateRoots, "all">, everyMs: number) {
    this.#validate = validate;
    this.everyMs = everyMs;
  }

  async run({ active }: DutyContext): Promise<DutyResult> {
    const { done, left } = await this.#validate.all(active);
    // What could not be written is tried again in its time, not at once.
    return { done: left > 0 ? 0 : done, left };
  }
}

export interface RewrapKeksOptions {
  readonly roots: Pick<Roots, "instances" | "named" | "of">;
  readonly moves: Pick<MoveRoots, "isUnsettled" | "settle">;
  readonly everyMs: number;
}

/** Instances a run: others' duties want the leader too. */
const instancesPerRun = 100;

/**
 * Brings KEKs under their root key's present version after a rotation, and ends moves to other root keys that were begun.
 * Object records stay as they are.
 */
export class RewrapKeks implements Duty {
  readonly name = "rewrap-keks";
  readonly everyMs: number;
  readonly #options: RewrapKeksOptions;

  constructor(options: RewrapKeksOptions) {
    this.#options = options;
    this.everyMs = options.everyMs;
  }

  async run({ active }: DutyContext): Promise<DutyResult> {
    const { roots } = this.#options;
    const groups = new Map<string, string[]>();
    for (const instance of roots.instances()) {
      const { current, next } = roots.named(instance);
      const key = keyOf(next ?? current);
      groups.set(key, [...(groups.get(key) ?? []), instance]);
    }
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
    const { roots, moves } = this.#options;
    let [done, left, looked] = [0, 0, 0];
    for (const instance of instances) {
      if (!active()) return { done, left: left + 1 };
      try {
        const { next, current } = roots.named(instance);
        const { name, currentVersion } = await (await roots.of(next ?? current)).describe();
        if (!moves.isUnsettled(instance, { name, version: currentVersion })) continue;
        looked += 1;
        if (looked > instancesPerRun) return { done, left: left + 1 };
        const settled = await moves.settle(instance, { active });
        done += settled.rewrapped;
        left += settled.left;
      } catch (error) {
        left += 1;
        if (error instanceof RootOfTrustError) return { done, left };
      }
    }
    return { done, left };
  }
}
