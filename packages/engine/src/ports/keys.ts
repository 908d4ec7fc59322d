import type { SealBinding, SealedMaterial } from "../record/sealed.ts";
import type { KekWrap, WrappedKek } from "../system/wrapped-kek.ts";

/** Seals and opens material for an instance. Rejects with `KeyRingUnavailable` or, for altered data, `SealBroken`. */
export interface KeyRing {
  seal(binding: SealBinding, plaintext: Uint8Array): Promise<SealedMaterial>;
  /** Synchronous result when the KEK is in memory, since every Get passes here. */
  open(binding: SealBinding, sealed: SealedMaterial): Uint8Array | Promise<Uint8Array>;
}

/** Where wrapped KEKs live (partition `{sys}`). Every implementation passes `kekStoreConformance`. */
export interface KekStore {
  list(instance: string): Promise<readonly WrappedKek[]>;
  /** Durable when it resolves. With `onlyIfNone`, false when the instance has a KEK already. */
  add(instance: string, kek: WrappedKek, onlyIfNone: boolean): Promise<boolean>;
  /**
   * Replaces one region's wrap if its blob is still `expected`, or gives the region its first where `expected` is empty;
   * durable when it resolves true. False where it is another, and where the KEK is not known.
   */
  rewrap(
    instance: string,
    kekId: string,
    expected: Uint8Array,
    replacement: KekWrap,
  ): Promise<boolean>;
}

/**
 * `unavailable`: no answer, try again. The others are refusals: `denied` (credentials, permission), `disabled` (the key's
 * state), `gone` (deleted, destroyed).
 */
export type RootOfTrustFailure = "unavailable" | "denied" | "disabled" | "gone";

/** What a root of trust wrapped, and under which version of its root key. */
export interface RootWrap {
  readonly blob: Uint8Array;
  readonly version: string;
}

/** What a root of trust unwrapped; `rewrapped` is present when it has a newer version than the blob's. */
export interface RootUnwrap {
  readonly plaintext: Uint8Array;
  readonly version: string;
  readonly rewrapped?: RootWrap;
}

/** A root of trust as it says itself: `name` identifies its root key and is stored beside each wrap. */
export interface RootDescription {
  readonly kind: string;
  readonly name: string;
  readonly currentVersion: string;
}

/** A root key that a root of trust offers. */
export interface RootKey {
  /** What an instance's reference names. */
  readonly id: string;
  readonly name: string;
  readonly aliases: readonly string[];
  readonly keyRing?: string;
  /** As the root of trust calls it: `Active`, `Suspended`, `Deactivated`, `Destroyed`. */
  readonly state: string;
  /** Whether an instance can be put under it now. */
  readonly usable: boolean;
  readonly currentVersion?: string;
  readonly createdMs?: number;
}

/**
 * Who wraps KEKs: one root key of one root of trust. Rejects with `RootOfTrustError` whose `failure` distinguishes retry from
 * refusal, or with `SealBroken` for a blob that is not what it wrapped. Every implementation passes
 * `rootOfTrustConformance`.
 */
export interface RootOfTrust {
  /** `local`, `key-protect`, `hpcs` or `pkcs11`. */
  readonly kind: string;
  describe(): Promise<RootDescription>;
  wrap(plaintext: Uint8Array, additionalData: Uint8Array): Promise<RootWrap>;
  unwrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootUnwrap>;
  /** Brings a blob under the current version; undefined where it is. Its plaintext stays in the root where that can do it. */
  rewrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootWrap | undefined>;
  /** The root keys that its credentials see, of which it need not be one. */
  rootKeys(): Promise<readonly RootKey[]>;
  /** Resolves when the credentials' permission and the root key's state let it serve an instance. */
  validate(): Promise<void>;
  /** Wraps and unwraps random bytes; resolves when the root of trust does its work. */
  probe(): Promise<void>;
  /** Forgets secrets and ends connections; later calls are `unavailable`. Any number of times. */
  close(): Promise<void>;
}
