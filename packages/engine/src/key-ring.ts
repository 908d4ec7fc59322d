import { createSecretKey, type KeyObject } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { KeyRingUnavailable, RootOfTrustError, SealBroken } from "./errors.ts";
import {
  awaitedRegions,
  checkKek,
  sealingKek,
  wrapKek,
  wrapOf,
  wrapProven,
} from "./key-ring-kek.ts";
import type { Observer } from "./observe.ts";
import type {
  Clock,
  Ids,
  KekStore,
  KeyRing,
  RootOfTrust,
  SealBinding,
  SealedMaterial,
  WrappedKek,
} from "./ports.ts";
import { kekBytes, kekCheck, kekData, nonceBytes, openMaterial, sealMaterial } from "./seal.ts";

/** What an `InstanceKeyRing` stands on, and for how long it trusts it. */
export interface KeyRingOptions {
  readonly root: RootOfTrust;
  readonly keks: KekStore;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly observe: Observer;
  readonly region: string;
  /** How long an open KEK is used after the root of trust last opened it. Re-opened in the background at half of it. */
  readonly kekCacheMs: number;
  /** How long after that last time it is used while the root of trust cannot be reached. */
  readonly graceMs: number;
  /** Regions without whose wrap a KEK seals nothing, this one among them; this one alone unless given. */
  readonly requiredRegions?: () => readonly string[];
  /** How long a seal waits for their wraps, counted from when one was first missed; 3,000 unless given. */
  readonly exchangeWaitMs?: number;
  readonly sleep?: (ms: number) => Promise<void>;
  /** Asks another region for a KEK whose wrap of this region is not one; its bytes are zeroed after use. */
  readonly fetchPlain?: (instance: string, kekId: string) => Promise<Uint8Array>;
}

/**
 * A KEK in memory. `key` is gone once it was dropped; its bytes lie outside the heap, and Node zeroes them when it frees
 * them.
 */
interface OpenKek {
  readonly instance: string;
  readonly id: string;
  key: KeyObject | undefined;
  /** When the root of trust last opened it, or rather when it was asked to: monotonic. */
  validatedMs: number;
  /** When somebody last needed it: monotonic. */
  usedMs: number;
  /** The root of trust could not be reached the last time. */
  unreachable: boolean;
}

/** A load that failed; until then nobody asks again, which spares a key manager in trouble. */
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
const exchangeWaitDefaultMs = 3_000;
const exchangePollMs = 50;
const noBlob = new Uint8Array();

/**
 * Seals and opens material under each instance's KEK. KEKs are made at first need, kept wrapped by
 * the root of trust, and open in memory for a limited time; a refusal of the root of trust drops them at once.
 */
export class InstanceKeyRing implements KeyRing {
  readonly #options: KeyRingOptions;
  /** By their ids, which no two instances share. */
  readonly #open = new Map<string, OpenKek>();
  readonly #sealing = new Map<string, Sealing>();
  /** Instance → when a wrap of another region was first missed: monotonic. */
  readonly #missedMs = new Map<string, number>();
  readonly #loads = new Map<string, Promise<OpenKek>>();
  readonly #failures = new Map<string, Failure>();
  readonly #resolutions = new Map<string, Promise<OpenKek>>();
  /** Grows with every drop, so that a load begun before it does not bring the key back. */
  #drops = 0;

  constructor(options: KeyRingOptions) {
    this.#options = options;
  }

  async seal(binding: SealBinding, plaintext: Uint8Array): Promise<SealedMaterial> {
    const kek = await this.#sealingKek(binding.instance);
    const key = keyOf(kek);
    const nonce = this.#options.ids.randomBytes(nonceBytes);
    return sealMaterial({ id: kek.id, key }, nonce, binding, plaintext);
  }

  open(binding: SealBinding, sealed: SealedMaterial): Uint8Array | Promise<Uint8Array> {
    const kek = this.#usable(binding.instance, sealed.kekId);
    if (kek?.key !== undefined) return openMaterial(kek.key, binding, sealed);
    return this.#load(binding.instance, sealed.kekId).then((loaded) =>
      openMaterial(keyOf(loaded), binding, sealed),
    );
  }

  /** Forgets the open KEKs of an instance, or all. */
  drop(instance?: string): void {
    this.#drops += 1;
    this.#failures.clear();
    for (const kek of this.#open.values()) {
      if (instance === undefined || kek.instance === instance) this.#forget(kek);
    }
  }

  /**
   * Re-opens what is in use, so that a refusal is noticed and a grace begins at a recent answer although nobody asks
   * for a key; forgets what nobody needed for long. Called a few times within `kekCacheMs`.
   */
  sweep(): void {
    const { clock, kekCacheMs, graceMs } = this.#options;
    const idleMaxMs = Math.max(kekCacheMs, graceMs);
    for (const kek of this.#open.values()) {
      if (clock.monotonicMs() - kek.usedMs >= idleMaxMs) this.#forget(kek);
      else this.#renew(kek);
    }
  }

  /**
   * Wraps another region's KEK under this region's root of trust and opens it once, so that this region may seal and open
   * with it. `fetchPlain` answers its bytes, which are zeroed. False where the region has its wrap already.
   */
  async adopt(
    instance: string,
    kekId: string,
    fetchPlain: () => Promise<Uint8Array>,
  ): Promise<boolean> {
    const { keks, region } = this.#options;
    const kek = (await keks.list(instance)).find(({ id }) => id === kekId);
    if (kek === undefined || wrapOf(kek, region) !== undefined) return false;
    return await this.#wrapAnew(instance, kek, noBlob, await fetchPlain());
  }

  /** Gives a KEK this region's wrap in place of `old`, and zeroes its bytes; false where others were faster. */
  async #wrapAnew(
    instance: string,
    kek: WrappedKek,
    old: Uint8Array,
    key: Uint8Array,
  ): Promise<boolean> {
    const { keks, root, region } = this.#options;
    try {
      if (key.length !== kekBytes) {
        throw new SealBroken(`key-encryption key ${kek.id} has a wrong length`);
      }
      checkKek(key, instance, kek);
      const wrap = await wrapProven(root, { instance, id: kek.id, region }, key);
      return await keks.rewrap(instance, kek.id, old, wrap);
    } finally {
      key.fill(0);
    }
  }

  /** An instance's KEK for another region, from the root of trust; the caller zeroes it after use. */
  async plaintextFor(instance: string, kekId: string): Promise<Uint8Array> {
    try {
      const { plaintext } = await this.#unwrapped(instance, kekId);
      return plaintext;
    } catch (error) {
      throw unavailable(error);
    }
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
      let keks = await this.#options.keks.list(instance);
      if (keks.length === 0) {
        await this.#make(instance);
        // Another node may have been first; its KEK is the one that counts.
        keks = await this.#options.keks.list(instance);
      }
      return await this.#load(instance, await this.#whole(instance, keks));
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** The id of a KEK that every region has wrapped; waits for that, for a bounded time. */
  async #whole(instance: string, known: readonly WrappedKek[]): Promise<string> {
    const { clock, keks, sleep = delay, exchangeWaitMs = exchangeWaitDefaultMs } = this.#options;
    for (let list = known; ; list = await keks.list(instance)) {
      const id = this.#noteSealing(instance, list);
      if (id !== undefined) return id;
      const nowMs = clock.monotonicMs();
      const missedMs = this.#missedMs.get(instance) ?? nowMs;
      this.#missedMs.set(instance, missedMs);
      if (this.#isAlone() || nowMs - missedMs >= exchangeWaitMs) throw this.#awaiting(list);
      await sleep(exchangePollMs);
    }
  }

  /** Notes the KEK that seals; undefined where none is wrapped by every region. */
  #noteSealing(instance: string, keks: readonly WrappedKek[]): string | undefined {
    const kek = sealingKek(keks, this.#required());
    if (kek === undefined) return undefined;
    const regions = new Set(kek.wraps.map((wrap) => wrap.region));
    this.#sealing.set(instance, { id: kek.id, regions });
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

  async #make(instance: string): Promise<void> {
    const { root, keks, clock, ids, region } = this.#options;
    const id = ids.uuid();
    const key = ids.randomBytes(kekBytes);
    try {
      const name = { instance, id, region };
      // A region alone opens it before it seals; another region may seal with it before this one opened it.
      const wrap = await (this.#isAlone() ? wrapKek : wrapProven)(root, name, key);
      const check = kekCheck(key, instance, id);
      await keks.add(instance, { id, createdMs: clock.wallMs(), check, wraps: [wrap] }, true);
    } finally {
      // It comes back through the root of trust, which so proves that it can be opened before it seals anything.
      key.fill(0);
    }
  }

  /** The open KEK if it may be used now. */
  #usable(instance: string, id: string): OpenKek | undefined {
    const kek = this.#opened(instance, id);
    if (kek === undefined) return undefined;
    kek.usedMs = this.#options.clock.monotonicMs();
    this.#renew(kek);
    return this.#inTime(kek) ? kek : undefined;
  }

  #opened(instance: string, id: string): OpenKek | undefined {
    const kek = this.#open.get(id);
    return kek?.instance === instance ? kek : undefined;
  }

  /** Re-opens a KEK in the background when half of its time is over. */
  #renew(kek: OpenKek): void {
    const { clock, kekCacheMs } = this.#options;
    if (clock.monotonicMs() - kek.validatedMs < kekCacheMs / 2) return;
    // Whoever needs the key hears of a failure; here it is only told to the observer, in `#failed`.
    this.#load(kek.instance, kek.id).catch(() => undefined);
  }

  #inTime(kek: OpenKek): boolean {
    const { clock, kekCacheMs, graceMs } = this.#options;
    const ageMs = clock.monotonicMs() - kek.validatedMs;
    return kek.key !== undefined && (ageMs < kekCacheMs || (kek.unreachable && ageMs < graceMs));
  }

  async #load(instance: string, id: string): Promise<OpenKek> {
    const failure = this.#failures.get(entry(instance, id));
    if (failure !== undefined && this.#options.clock.monotonicMs() < failure.untilMs) {
      throw failure.error;
    }
    return singleFlight(this.#loads, entry(instance, id), async () => {
      const drops = this.#drops;
      const askedMs = this.#options.clock.monotonicMs();
      try {
        const key = await this.#unwrapMending(instance, id);
        if (drops !== this.#drops) throw dropped();
        return this.#remember(instance, id, key, askedMs);
      } catch (error) {
        return this.#failed(instance, id, error);
      }
    });
  }

  /**
   * Whoever wrote a wrap that is none, in the store or in another region: the KEK that it stood for is wrapped anew. A wrap
   * of another root of trust stays: a node that was given the wrong one must not take the KEK from all others.
   */
  async #unwrapMending(instance: string, id: string): Promise<KeyObject> {
    const { keks, region, observe, fetchPlain, root } = this.#options;
    try {
      return await this.#unwrap(instance, id);
    } catch (broken) {
      const kek = (await keks.list(instance)).find((each) => each.id === id);
      const old = kek && wrapOf(kek, region);
      if (!(broken instanceof SealBroken && kek && old && fetchPlain)) throw broken;
      if (old.rootOfTrust !== (await root.describe()).name) throw broken;
      const plain = this.#opened(instance, id)?.key?.export() ?? (await fetchPlain(instance, id));
      await this.#wrapAnew(instance, kek, old.blob, plain);
      const message = `key-encryption key ${id} had a wrap of this region that does not open; it has another one now`;
      observe({ type: "warning", message, cause: broken });
      return await this.#unwrap(instance, id);
    }
  }

  async #unwrap(instance: string, id: string): Promise<KeyObject> {
    const { keks, observe } = this.#options;
    const { plaintext, rewrapped, wrap, kek, known } = await this.#unwrapped(instance, id);
    const key = takeKey(plaintext);
    if (key === undefined) throw new SealBroken(`key-encryption key ${id} has a wrong length`);
    checkKek(key, instance, kek);
    this.#noteSealing(instance, known);
    if (rewrapped !== undefined) {
      const { blob, version: rootKeyVersion } = rewrapped;
      // The old wrap still opens; the next load tries again.
      keks
        .rewrap(instance, id, wrap.blob, { ...wrap, rootKeyVersion, blob })
        .catch((cause: unknown) =>
          observe({ type: "warning", message: `key-encryption key ${id} is not rewrapped`, cause }),
        );
    }
    return key;
  }

  /** What the root of trust makes of this region's wrap. */
  async #unwrapped(instance: string, id: string) {
    const { root, keks, clock, observe, region } = this.#options;
    const known = await keks.list(instance);
    const kek = known.find((each) => each.id === id);
    const wrap = kek && wrapOf(kek, region);
    if (kek === undefined || wrap === undefined) {
      throw new KeyRingUnavailable(
        false,
        `key-encryption key ${id} is not wrapped for this region`,
      );
    }
    const startedMs = clock.monotonicMs();
    const told = (ok: boolean): void =>
      observe({ type: "unwrap", durationMs: clock.monotonicMs() - startedMs, ok });
    const opened = await root.unwrap(wrap.blob, kekData(instance, id)).catch((error: unknown) => {
      told(false);
      throw error;
    });
    told(true);
    return { ...opened, wrap, kek, known };
  }

  #remember(instance: string, id: string, key: KeyObject, validatedMs: number): OpenKek {
    this.#failures.delete(entry(instance, id));
    const known = this.#opened(instance, id);
    const fresh = { key, validatedMs, unreachable: false };
    if (known !== undefined) return Object.assign(known, fresh);
    const kek = { instance, id, usedMs: this.#options.clock.monotonicMs(), ...fresh };
    this.#open.set(id, kek);
    return kek;
  }

  /** A refusal drops the KEK; where the root of trust cannot be reached, one in grace goes on. */
  #failed(instance: string, id: string, cause: unknown): OpenKek {
    const { clock, observe, kekCacheMs } = this.#options;
    const error = unavailable(cause);
    const untilMs = clock.monotonicMs() + Math.min(kekCacheMs / 2, retryMaxMs);
    this.#failures.set(entry(instance, id), { untilMs, error });
    const kek = this.#opened(instance, id);
    if (kek !== undefined) kek.unreachable = error instanceof KeyRingUnavailable && !error.refused;
    const goesOn = kek?.unreachable === true && this.#inTime(kek);
    if (kek !== undefined && !goesOn) this.#forget(kek);
    const effect = goesOn ? "they stay open for a limited time" : "they are closed";
    const message = `keys of instance ${instance}: ${error.message}; ${effect}`;
    observe({ type: "warning", message, cause });
    if (goesOn) return kek;
    throw error;
  }

  #forget(kek: OpenKek): void {
    kek.key = undefined;
    this.#open.delete(kek.id);
  }
}

/** The key of a KEK's bytes, which are zeroed; undefined where they are none. */
function takeKey(bytes: Uint8Array): KeyObject | undefined {
  try {
    return bytes.length === kekBytes ? createSecretKey(bytes) : undefined;
  } finally {
    bytes.fill(0);
  }
}

function entry(instance: string, id: string): string {
  return `${id} ${instance}`;
}

/** The key of a KEK that was just loaded; it may have been dropped before its user got to run. */
function keyOf(kek: OpenKek): KeyObject {
  if (kek.key !== undefined) return kek.key;
  throw dropped();
}

function dropped(): KeyRingUnavailable {
  return new KeyRingUnavailable(false, "the instance's keys were dropped meanwhile");
}

/** What a user of the key ring is told: refused, cannot be reached, or altered. */
function unavailable(cause: unknown): KeyRingUnavailable | SealBroken {
  if (cause instanceof KeyRingUnavailable || cause instanceof SealBroken) return cause;
  if (cause instanceof RootOfTrustError && cause.failure !== "unavailable") {
    return new KeyRingUnavailable(true, `the root of trust refuses (${cause.failure})`, { cause });
  }
  const what =
    cause instanceof RootOfTrustError ? "the root of trust" : "the key-encryption keys' store";
  return new KeyRingUnavailable(false, `${what} cannot be reached`, { cause });
}

/** Runs `body` unless it runs already for this key; then its answer is shared. */
function singleFlight<Answer>(
  flights: Map<string, Promise<Answer>>,
  key: string,
  body: () => Promise<Answer>,
): Promise<Answer> {
  const running = flights.get(key);
  if (running !== undefined) return running;
  const flight = body().finally(() => flights.delete(key));
  flights.set(key, flight);
  return flight;
}
