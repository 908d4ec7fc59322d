import { setTimeout as delay } from "node:timers/promises";
import type { AuditEvent } from "../audit/audit-event.ts";
import {
  KeyRingUnavailable,
  KeysShredded,
  RootOfTrustError,
  type SealBroken,
} from "../base/errors.ts";
import { singleFlight } from "../concurrency/single-flight.ts";
import type { KeyRing, RootOfTrust } from "../ports/keys.ts";
import type { SealBinding, SealedMaterial } from "../record/sealed.ts";
import { isWithheldKek, type WrappedKek } from "../system/wrapped-kek.ts";
import { awaitedRegions, newestFirst, sealingKek } from "./key-ring-kek.ts";
import { dropped, keyOf, type OpenKek, OpenKeks, withheld } from "./key-ring-open.ts";
import {
  failureBehind,
  type KeyRingStatus,
  keyRingFault,
  reasonBehind,
} from "./key-ring-status.ts";
import { KekWraps, type KekWrapsOptions, type Rewrapped } from "./key-ring-wraps.ts";
import { nonceBytes, openMaterial, resealNonce, sealMaterial } from "./seal.ts";
import { SealCounts } from "./seal-counts.ts";

/** Dependencies of an `InstanceKeyRing`, and for how long it trusts them. */
export interface KeyRingOptions extends KekWrapsOptions {
  /**
   * How long an open KEK is used after the root of trust last opened it. After half of this time it is re-opened in the
   * background.
   */
  readonly kekCacheMs: number;
  /** The same while the root of trust cannot be reached. */
  readonly graceMs: number;
  /** Regions, including this one, that must have wrapped a KEK before it seals; this one alone unless given. */
  readonly requiredRegions?: () => readonly string[];
  /** How long a seal waits for their wraps, counted from when one was first found missing; 3,000 unless given. */
  readonly exchangeWaitMs?: number;
  readonly sleep?: (ms: number) => Promise<void>;
}

/** A failed load. Nobody tries again before `untilMs`, which spares a key manager in trouble. */
interface Failure {
  readonly untilMs: number;
  readonly error: KeyRingUnavailable | SealBroken;
}

/** The KEK that seals for an instance, and the regions that have wrapped it. */
interface Sealing {
  readonly id: string;
  readonly regions: ReadonlySet<string>;
}

const retryMaxMs = 1_000;
/** A sweep begins no load while so many are under way: what it leaves is opened when it is needed. */
const sweepLoadsMax = 256;
const warnAgainMs = 60_000;
const exchangeWaitDefaultMs = 3_000;
const exchangePollMs = 50;

/**
 * Seals and opens material under each instance's KEK. KEKs are made at first need, kept wrapped by the instance's root
 * of trust, and open in memory for a limited time; a refusal of the root of trust drops them at once.
 */
export class InstanceKeyRing implements KeyRing {
  readonly seals = new SealCounts();
  readonly #options: KeyRingOptions;
  readonly #wraps: KekWraps;
  readonly #open: OpenKeks;
  readonly #sealing = new Map<string, Sealing>();
  /** Instance → when a wrap of another region was first found missing: monotonic. */
  readonly #missedMs = new Map<string, number>();
  readonly #loads = new Map<string, Promise<OpenKek>>();
  /** Instance → KEK's id → failure. */
  readonly #failures = new Map<string, Map<string, Failure>>();
  readonly #resolutions = new Map<string, Promise<OpenKek>>();
  readonly #shredded = new Set<string>();
  /** How many use what is withheld now; without one, no such KEK is open. */
  #holders = 0;
  /** Counts the orders to look again: what was read before one says nothing of the KEK that seals after it. */
  #looks = 0;
  readonly #statuses = new Map<string, KeyRingStatus>();
  /** Instance → when the last warning of a failure was reported: monotonic. */
  readonly #warnedMs = new Map<string, number>();

  constructor(options: KeyRingOptions) {
    this.#options = options;
    this.#wraps = new KekWraps(options);
    this.#open = new OpenKeks(options);
  }

  async seal(binding: SealBinding, plaintext: Uint8Array): Promise<SealedMaterial> {
    const kek = await this.#sealingKek(binding.instance);
    const key = keyOf(kek);
    const nonce = this.#options.ids.randomBytes(nonceBytes);
    this.seals.count(kek);
    return sealMaterial({ id: kek.id, key }, nonce, binding, plaintext);
  }

  /** The same plaintext under one KEK of the instance, the same bytes in every region; `sealed` itself if it is that. */
  async reseal(
    binding: SealBinding,
    sealed: SealedMaterial,
    kekId: string,
  ): Promise<SealedMaterial> {
    if (sealed.kekId === kekId) return sealed;
    const plaintext = await this.openAny(binding, sealed);
    try {
      const kek =
        this.#usable(binding.instance, kekId) ?? (await this.#load(binding.instance, kekId));
      const key = keyOf(kek);
      this.seals.count(kek);
      const nonce = resealNonce(key, binding, plaintext);
      return sealMaterial({ id: kekId, key }, nonce, binding, plaintext);
    } finally {
      plaintext.fill(0);
    }
  }

  /** Which of two seals that this key ring has opened stays: that of the newer KEK, or the lower bytes. */
  newerSeal(instance: string, one: SealedMaterial, other: SealedMaterial): SealedMaterial {
    if (one.kekId === other.kekId) {
      const order = Buffer.compare(one.nonce, other.nonce);
      return (order || Buffer.compare(one.ciphertext, other.ciphertext)) <= 0 ? one : other;
    }
    const [a, b] = [one, other].map(({ kekId }) => this.#open.get(instance, kekId));
    if (a === undefined || b === undefined) throw dropped();
    return newestFirst(a, b) < 0 ? one : other;
  }

  /**
   * Makes a KEK that seals from now on, once every region has wrapped it, and returns its id. What older ones sealed
   * is re-sealed by the leaders.
   */
  async rekey(instance: string, evidence: readonly AuditEvent[]): Promise<string> {
    this.#refuseShredded(instance);
    const id = await this.#wraps.makeNext(instance, evidence);
    this.lookAgain(instance);
    return id;
  }

  /** Has the next seal read which KEK of an instance seals: another one was made, or wrapped. */
  lookAgain(instance: string): void {
    this.#looks += 1;
    this.#sealing.delete(instance);
  }

  /** Makes the KEK under which an instance's destroyed material is withheld; see `KekWraps.makeWithheld`. */
  async makeWithheld(instance: string, afterMs: number): Promise<void> {
    this.#refuseShredded(instance);
    await this.#wraps.makeWithheld(instance, afterMs);
  }

  /** The id of the KEK that seals for an instance. */
  async sealingId(instance: string): Promise<string> {
    return (await this.#sealingKek(instance)).id;
  }

  /** See `KeyRing.open`. Never opens what is withheld: no client needs it. */
  open(binding: SealBinding, sealed: SealedMaterial): Uint8Array | Promise<Uint8Array> {
    if (isWithheldKek(sealed.kekId)) return Promise.reject(withheld());
    return this.openAny(binding, sealed);
  }

  /** Lets `body` use what is withheld. KEKs of that kind are forgotten when nobody uses them any more. */
  async holding<Result>(body: () => Promise<Result>): Promise<Result> {
    this.#holders += 1;
    try {
      return await body();
    } finally {
      this.#holders -= 1;
      if (this.#holders === 0) this.#open.forgetWithheld();
    }
  }

  /** The same as `open`, and of what is withheld too, within `holding`: to re-seal it, or to restore it. */
  openAny(binding: SealBinding, sealed: SealedMaterial): Uint8Array | Promise<Uint8Array> {
    const kek = this.#usable(binding.instance, sealed.kekId);
    if (kek?.key !== undefined) return openMaterial(kek.key, binding, sealed);
    return this.#load(binding.instance, sealed.kekId).then((loaded) =>
      openMaterial(keyOf(loaded), binding, sealed),
    );
  }

  /** Forgets the open KEKs of an instance, or all; the next need opens them again. */
  drop(instance?: string): void {
    this.#open.drop(instance);
    if (instance === undefined) this.#failures.clear();
    else this.#failures.delete(instance);
  }

  /** Forgets a deleted instance and all that is known about its keys. */
  forget(instance: string): void {
    this.drop(instance);
    this.#shredded.delete(instance);
    for (const found of [this.#statuses, this.#sealing, this.#missedMs, this.#warnedMs]) {
      found.delete(instance);
    }
  }

  /** Forgets the open KEKs of an instance and opens none until `unshred`, regardless of its root of trust. */
  shred(instance: string): void {
    if (this.#shredded.has(instance)) return;
    this.#shredded.add(instance);
    this.drop(instance);
    this.#note(instance, { state: "shredded", reason: new KeysShredded().message });
  }

  /** Lets an instance's KEKs be opened again. */
  unshred(instance: string): void {
    if (!this.#shredded.delete(instance)) return;
    this.drop(instance);
    this.#statuses.delete(instance);
  }

  /** Asks the root of trust now for every open KEK of an instance, even after a refusal a moment ago. */
  async revalidate(instance: string): Promise<void> {
    this.#failures.delete(instance);
    await Promise.all(
      this.#open.of(instance).map(async ({ id }) => {
        // An answer to an older question may be out of date.
        await this.#loads.get(entry(instance, id))?.catch(() => undefined);
        this.#failures.get(instance)?.delete(id);
        await this.#load(instance, id).catch(() => undefined);
      }),
    );
  }

  /** The last known state of an instance's keys; undefined if none was needed yet. */
  statusOf(instance: string): KeyRingStatus | undefined {
    const status = this.#statuses.get(instance);
    if (status?.graceUntilMs === undefined || this.#options.clock.wallMs() < status.graceUntilMs) {
      return status;
    }
    return { ...status, state: "closed" };
  }

  /** The same for every instance. */
  statuses(): ReadonlyMap<string, KeyRingStatus> {
    return new Map(
      [...this.#statuses.keys()].flatMap((instance) => {
        const status = this.statusOf(instance);
        return status === undefined ? [] : [[instance, status] as const];
      }),
    );
  }

  /**
   * Re-opens KEKs in use, so that a refusal is noticed and a grace period begins at a recent answer even if nobody asks
   * for a key; forgets KEKs that nobody needed for long. Called a few times within `kekCacheMs`.
   */
  sweep(): void {
    for (const kek of this.#open.all()) {
      if (this.#open.isIdle(kek)) this.#open.forget(kek);
      else if (this.#loads.size < sweepLoadsMax) this.#renew(kek);
    }
  }

  /**
   * Wraps another region's KEK under this region's root of trust and opens it once, so that this region may seal and open
   * with it. `fetchPlain` returns its bytes, which are zeroed. False if the region has its wrap already.
   */
  adopt(instance: string, kekId: string, fetchPlain: () => Promise<Uint8Array>): Promise<boolean> {
    return this.#wraps.adopt(instance, kekId, { held: this.#held(instance, kekId), fetchPlain });
  }

  /** See `KekWraps.prove`. */
  readonly prove: KekWraps["prove"] = async (kek, wrap) => {
    this.#refuseShredded(kek.instance);
    return await this.#wraps.prove(kek, wrap);
  };

  /** An instance's KEK for another region, from the root of trust; the caller zeroes it after use. */
  async plaintextFor(instance: string, kekId: string): Promise<Uint8Array> {
    try {
      this.#refuseShredded(instance);
      const drops = this.#open.dropsOf(instance);
      const plaintext = await this.#wraps.plaintext(instance, kekId);
      if (drops === this.#open.dropsOf(instance)) return plaintext;
      // It was shredded, or deleted, while its root of trust was asked.
      plaintext.fill(0);
      this.#refuseShredded(instance);
      throw dropped();
    } catch (error) {
      throw keyRingFault(error);
    }
  }

  /** Re-wraps a KEK for this region under `target`'s current version: see `KekWraps.rewrap`. */
  rewrap(
    instance: string,
    kek: WrappedKek,
    target: RootOfTrust,
    anySource: boolean,
  ): Promise<Rewrapped> {
    const held = this.#held(instance, kek.id);
    return this.#wraps.rewrap(instance, kek, target, { held, anySource });
  }

  async #sealingKek(instance: string): Promise<OpenKek> {
    const sealing = this.#sealing.get(instance);
    const whole = sealing && this.#required().every((region) => sealing.regions.has(region));
    const kek = whole === true ? this.#usable(instance, sealing?.id ?? "") : undefined;
    return kek ?? singleFlight(this.#resolutions, instance, () => this.#resolve(instance));
  }

  /** Finds the KEK that seals for an instance, and makes it if it has none. */
  async #resolve(instance: string): Promise<OpenKek> {
    try {
      this.#refuseShredded(instance);
      let looks = this.#looks;
      let keks = await this.#wraps.list(instance);
      if (keks.every(({ id }) => isWithheldKek(id))) {
        // A single region opens it before it seals; with others, one may seal with it before this region opened it.
        await this.#wraps.make(instance, !this.#isAlone());
        // Another node may have been first; its KEK is the one that counts.
        looks = this.#looks;
        keks = await this.#wraps.list(instance);
      }
      const id = await this.#whole(instance, keks, looks);
      return this.#usable(instance, id) ?? (await this.#load(instance, id));
    } catch (error) {
      const fault = keyRingFault(error);
      // No other event reports that a KEK cannot be made.
      if (error instanceof RootOfTrustError) this.#noteFailure(instance, fault, undefined);
      throw fault;
    }
  }

  /** The id of a KEK that every region has wrapped; waits a bounded time for one. */
  async #whole(
    instance: string,
    known: readonly WrappedKek[],
    knownLooks: number,
  ): Promise<string> {
    const { clock, sleep = delay, exchangeWaitMs = exchangeWaitDefaultMs } = this.#options;
    let looks = knownLooks;
    for (let list = known; ; list = await this.#wraps.list(instance)) {
      const id = this.#noteSealing(instance, list, looks);
      if (id !== undefined) return id;
      const nowMs = clock.monotonicMs();
      const missedMs = this.#missedMs.get(instance) ?? nowMs;
      this.#missedMs.set(instance, missedMs);
      if (this.#isAlone() || nowMs - missedMs >= exchangeWaitMs) throw this.#awaiting(list);
      await sleep(exchangePollMs);
      looks = this.#looks;
    }
  }

  /** Notes the KEK that seals, by what was read after so many looks; undefined if none is wrapped by every region. */
  #noteSealing(instance: string, keks: readonly WrappedKek[], looks: number): string | undefined {
    const kek = sealingKek(keks, this.#required());
    if (kek === undefined) return undefined;
    const regions = new Set(kek.wraps.map((wrap) => wrap.region));
    if (looks === this.#looks) this.#sealing.set(instance, { id: kek.id, regions });
    this.#missedMs.delete(instance);
    return kek.id;
  }

  #required(): readonly string[] {
    return this.#options.requiredRegions?.() ?? [this.#options.region];
  }

  #isAlone(): boolean {
    return this.#required().every((region) => region === this.#options.region);
  }

  #awaiting(keks: readonly WrappedKek[]): KeyRingUnavailable {
    const regions = awaitedRegions(keks, this.#required());
    const message = this.#isAlone()
      ? "no key-encryption key is wrapped for this region"
      : `the instance's key-encryption key waits for region ${regions.join(", ")}`;
    return new KeyRingUnavailable(false, message);
  }

  #refuseShredded(instance: string): void {
    if (this.#shredded.has(instance)) throw new KeysShredded();
  }

  /** The open KEK if it may be used now. */
  #usable(instance: string, id: string): OpenKek | undefined {
    const kek = this.#open.get(instance, id);
    if (kek === undefined) return undefined;
    kek.usedMs = this.#options.clock.monotonicMs();
    this.#renew(kek);
    return this.#open.inTime(kek) ? kek : undefined;
  }

  #held(instance: string, id: string) {
    return () => this.#open.get(instance, id)?.key;
  }

  /** Re-opens a KEK in the background when half of its time is over. */
  #renew(kek: OpenKek): void {
    if (!this.#open.isDue(kek)) return;
    // The caller that needs the key gets the failure; here it is only reported to the observer, in `#failed`.
    this.#load(kek.instance, kek.id).catch(() => undefined);
  }

  async #load(instance: string, id: string): Promise<OpenKek> {
    this.#refuseShredded(instance);
    const failure = this.#failures.get(instance)?.get(id);
    if (failure !== undefined && this.#options.clock.monotonicMs() < failure.untilMs) {
      throw failure.error;
    }
    return singleFlight(this.#loads, entry(instance, id), () => this.#loadNow(instance, id));
  }

  async #loadNow(instance: string, id: string): Promise<OpenKek> {
    const drops = this.#open.dropsOf(instance);
    const askedMs = this.#options.clock.monotonicMs();
    const looks = this.#looks;
    const open = this.#open.get(instance, id);
    if (open !== undefined) open.asking = this.#open.inTime(open);
    try {
      const unwrapped = await this.#wraps.open(instance, id, this.#held(instance, id));
      if (drops !== this.#open.dropsOf(instance)) throw dropped();
      this.#noteSealing(instance, unwrapped.known, looks);
      this.#failures.get(instance)?.delete(id);
      this.#note(instance, { state: "open", reason: "" });
      const kek = this.#open.remember({ instance, id }, unwrapped, askedMs);
      // Its user has ended meanwhile.
      if (this.#holders === 0) this.#open.forgetWithheld();
      return kek;
    } catch (error) {
      return this.#failed(instance, id, error, drops);
    } finally {
      if (open !== undefined) open.asking = false;
    }
  }

  /**
   * A refusal drops every KEK of the instance that the same root of trust has wrapped; if the root of trust cannot be
   * reached, a KEK stays in use for its grace period.
   */
  #failed(instance: string, id: string, cause: unknown, drops: number): OpenKek {
    const { clock, kekCacheMs } = this.#options;
    const error = keyRingFault(cause);
    if (drops !== this.#open.dropsOf(instance)) throw error;
    const nowMs = clock.monotonicMs();
    const failures = this.#failures.get(instance) ?? new Map<string, Failure>();
    this.#failures.set(instance, failures);
    failures.set(id, { untilMs: nowMs + Math.min(kekCacheMs / 2, retryMaxMs), error });
    const kek = this.#open.get(instance, id);
    const refused = error instanceof KeyRingUnavailable && error.refused;
    if (kek !== undefined) kek.unreachable = error instanceof KeyRingUnavailable && !refused;
    const goesOn = kek?.unreachable === true && this.#open.inTime(kek);
    if (refused) this.#dropWith(instance, kek);
    if (kek !== undefined && !goesOn) this.#open.forget(kek);
    this.#noteFailure(instance, error, goesOn ? kek : undefined);
    if (goesOn) return kek;
    throw error;
  }

  /** After the refusal of a KEK: forgets those under the same root key; if that is not known, loads all again. */
  #dropWith(instance: string, refused: OpenKek | undefined): void {
    for (const kek of this.#open.of(instance)) {
      if (refused === undefined) this.#load(instance, kek.id).catch(() => undefined);
      else if (kek.madeBy === refused.madeBy) this.#open.forget(kek);
    }
  }

  #noteFailure(
    instance: string,
    error: KeyRingUnavailable | SealBroken,
    kek: OpenKek | undefined,
  ): void {
    const { clock, graceMs, observe } = this.#options;
    const failure = failureBehind(error);
    const leftMs = kek && graceMs - this.#open.ageMs(kek);
    const changed = this.#note(instance, {
      state: kek === undefined ? "closed" : "grace",
      reason: reasonBehind(error),
      ...(failure && { failure }),
      ...(leftMs !== undefined && { graceUntilMs: clock.wallMs() + leftMs }),
    });
    const nowMs = clock.monotonicMs();
    const warnedMs = this.#warnedMs.get(instance) ?? Number.NEGATIVE_INFINITY;
    if (!changed && nowMs - warnedMs < warnAgainMs) return;
    this.#warnedMs.set(instance, nowMs);
    const effect = kek === undefined ? "they are closed" : "they stay open for a limited time";
    const message = `keys of instance ${instance}: ${error.message}; ${effect}`;
    observe({ type: "warning", message, cause: error.cause ?? error });
  }

  /** Notes the state of an instance's keys; true if it has changed. */
  #note(instance: string, status: Omit<KeyRingStatus, "sinceMs">): boolean {
    const known = this.#statuses.get(instance);
    const same = known?.state === status.state && known.failure === status.failure;
    const sinceMs = same ? known.sinceMs : this.#options.clock.wallMs();
    this.#statuses.set(instance, { ...status, sinceMs });
    if (same) return false;
    const { state, reason, failure = "none" } = status;
    this.#options.observe({ type: "instanceKeys", instance, state, failure, reason });
    return true;
  }
}

function entry(instance: string, id: string): string {
  return `${id} ${instance}`;
}
