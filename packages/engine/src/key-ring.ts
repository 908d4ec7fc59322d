import { createSecretKey, type KeyObject } from "node:crypto";
import { KeyRingUnavailable, RootOfTrustError, SealBroken } from "./errors.ts";
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
import { kekBytes, kekData, nonceBytes, openMaterial, sealMaterial } from "./seal.ts";

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

const retryMaxMs = 1_000;

/**
 * Seals and opens material under each instance's KEK. KEKs are made at first need, kept wrapped by
 * the root of trust, and open in memory for a limited time; a refusal of the root of trust drops them at once.
 */
export class InstanceKeyRing implements KeyRing {
  readonly #options: KeyRingOptions;
  /** By their ids, which no two instances share. */
  readonly #open = new Map<string, OpenKek>();
  /** Instance → id of the KEK that seals. */
  readonly #sealing = new Map<string, string>();
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

  async #sealingKek(instance: string): Promise<OpenKek> {
    const id = this.#sealing.get(instance);
    const kek = id === undefined ? undefined : this.#usable(instance, id);
    return kek ?? singleFlight(this.#resolutions, instance, () => this.#resolve(instance));
  }

  /** Finds the KEK that seals for an instance, and makes it if it has none. */
  async #resolve(instance: string): Promise<OpenKek> {
    const id = await this.#sealingId(instance);
    return this.#load(instance, id);
  }

  async #sealingId(instance: string): Promise<string> {
    try {
      let keks = await this.#options.keks.list(instance);
      if (keks.length === 0) {
        await this.#make(instance);
        // Another node may have been first; its KEK is the one that counts.
        keks = await this.#options.keks.list(instance);
      }
      return this.#noteSealing(instance, keks);
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** The newest KEK that this region can open. */
  #noteSealing(instance: string, keks: readonly WrappedKek[]): string {
    const { region } = this.#options;
    const [newest] = keks
      .filter(({ wraps }) => wraps.some((wrap) => wrap.region === region))
      .toSorted((a, b) => b.createdMs - a.createdMs || (a.id < b.id ? -1 : 1));
    if (newest === undefined) {
      throw new KeyRingUnavailable(false, "no key-encryption key is wrapped for this region");
    }
    this.#sealing.set(instance, newest.id);
    return newest.id;
  }

  async #make(instance: string): Promise<void> {
    const { root, keks, clock, ids, region } = this.#options;
    const id = ids.uuid();
    const key = ids.randomBytes(kekBytes);
    try {
      const { name } = await root.describe();
      const { blob, version } = await root.wrap(key, kekData(instance, id));
      const wraps = [{ region, rootOfTrust: name, rootKeyVersion: version, blob }];
      await keks.add(instance, { id, createdMs: clock.wallMs(), wraps }, true);
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
        const key = await this.#unwrap(instance, id);
        if (drops !== this.#drops) throw dropped();
        return this.#remember(instance, id, key, askedMs);
      } catch (error) {
        return this.#failed(instance, id, error);
      }
    });
  }

  async #unwrap(instance: string, id: string): Promise<KeyObject> {
    const { root, keks, clock, observe, region } = this.#options;
    const known = await keks.list(instance);
    const wrap = known.find((kek) => kek.id === id)?.wraps.find((made) => made.region === region);
    if (wrap === undefined) {
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
    const key = takeKey(opened.plaintext);
    if (key === undefined) throw new SealBroken(`key-encryption key ${id} has a wrong length`);
    this.#noteSealing(instance, known);
    if (opened.rewrapped !== undefined) {
      const { blob, version: rootKeyVersion } = opened.rewrapped;
      // The old wrap still opens; the next load tries again.
      keks
        .rewrap(instance, id, wrap.blob, { ...wrap, rootKeyVersion, blob })
        .catch((cause: unknown) =>
          observe({ type: "warning", message: `key-encryption key ${id} is not rewrapped`, cause }),
        );
    }
    return key;
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
