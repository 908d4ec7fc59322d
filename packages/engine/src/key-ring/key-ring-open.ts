import type { KeyObject } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import { KeyRingUnavailable } from "../base/errors.ts";
import { isWithheldKek } from "../system/wrapped-kek.ts";
import type { UnwrappedKek } from "./key-ring-wraps.ts";

/**
 * A KEK in memory. `key` is undefined once it was dropped; its bytes are outside the heap, and Node zeroes them when it
 * frees them.
 */
export interface OpenKek {
  readonly instance: string;
  readonly id: string;
  key: KeyObject | undefined;
  /** When it was made, which is its place among the KEKs of its instance. */
  createdMs: number;
  /** The root of trust that opened it. */
  madeBy: string;
  /** When the root of trust was asked to open it, the last time that it did: monotonic. */
  validatedMs: number;
  /** When it was last needed: monotonic. */
  usedMs: number;
  /** True if the root of trust could not be reached the last time. */
  unreachable: boolean;
  /** True while the root of trust is being asked, if that began while the KEK could be used. */
  asking: boolean;
}

/** How long open KEKs are trusted. */
export interface OpenTimes {
  readonly clock: Clock;
  readonly kekCacheMs: number;
  readonly graceMs: number;
}

/** The KEKs in memory, by their ids, which no two instances share. */
export class OpenKeks {
  readonly #times: OpenTimes;
  readonly #keks = new Map<string, OpenKek>();
  /** Drops by instance. They are counted so that a load that began before a drop does not bring the key back. */
  readonly #drops = new Map<string, number>();
  #dropsOfAll = 0;

  constructor(times: OpenTimes) {
    this.#times = times;
  }

  all(): Iterable<OpenKek> {
    return this.#keks.values();
  }

  of(instance: string): readonly OpenKek[] {
    return [...this.#keks.values()].filter((kek) => kek.instance === instance);
  }

  get(instance: string, id: string): OpenKek | undefined {
    const kek = this.#keks.get(id);
    return kek?.instance === instance ? kek : undefined;
  }

  remember(
    name: { readonly instance: string; readonly id: string },
    { key, madeBy, createdMs }: Pick<UnwrappedKek, "key" | "madeBy" | "createdMs">,
    validatedMs: number,
  ): OpenKek {
    const known = this.get(name.instance, name.id);
    const fresh = { key, madeBy, createdMs, validatedMs, unreachable: false };
    if (known !== undefined) return Object.assign(known, fresh);
    const usedMs = this.#times.clock.monotonicMs();
    const kek = { ...name, usedMs, asking: false, ...fresh };
    this.#keks.set(kek.id, kek);
    return kek;
  }

  ageMs(kek: OpenKek): number {
    return this.#times.clock.monotonicMs() - kek.validatedMs;
  }

  /** Whether half of its time has passed: then it is opened again. */
  isDue(kek: OpenKek): boolean {
    return this.ageMs(kek) >= this.#times.kekCacheMs / 2;
  }

  /**
   * Whether it may be used: within its time, and within the grace period while the root of trust cannot be reached, or
   * has not yet answered a request that was made in time.
   */
  inTime(kek: OpenKek): boolean {
    const { kekCacheMs, graceMs } = this.#times;
    const ageMs = this.ageMs(kek);
    if (kek.key === undefined) return false;
    return ageMs < kekCacheMs || ((kek.unreachable || kek.asking) && ageMs < graceMs);
  }

  /** Whether nobody has needed it for longer than it may be used. */
  isIdle(kek: OpenKek): boolean {
    const { clock, kekCacheMs, graceMs } = this.#times;
    return clock.monotonicMs() - kek.usedMs >= Math.max(kekCacheMs, graceMs);
  }

  forget(kek: OpenKek): void {
    kek.key = undefined;
    this.#keks.delete(kek.id);
  }

  /** Forgets the KEKs under which material is withheld. */
  forgetWithheld(): void {
    for (const kek of this.#keks.values()) if (isWithheldKek(kek.id)) this.forget(kek);
  }

  /** Forgets an instance's KEKs, or all. */
  drop(instance?: string): void {
    if (instance === undefined) this.#dropsOfAll += 1;
    else this.#drops.set(instance, (this.#drops.get(instance) ?? 0) + 1);
    for (const kek of this.#keks.values()) {
      if (instance === undefined || kek.instance === instance) this.forget(kek);
    }
  }

  /** A number that changes with each drop of the instance's KEKs. */
  dropsOf(instance: string): number {
    return this.#dropsOfAll + (this.#drops.get(instance) ?? 0);
  }
}

/** The key of a KEK that was just loaded; it may have been dropped before its caller got to run. */
export function keyOf(kek: OpenKek): KeyObject {
  if (kek.key !== undefined) return kek.key;
  throw dropped();
}

/** The refusal to open for a client what is withheld. */
export function withheld(): KeyRingUnavailable {
  return new KeyRingUnavailable(false, "the material of a destroyed key is withheld");
}

/** The failure of a use that met a drop. */
export function dropped(): KeyRingUnavailable {
  return new KeyRingUnavailable(false, "the instance's keys were dropped meanwhile");
}
