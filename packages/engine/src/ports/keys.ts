import type { AuditEvent } from "../audit/audit-event.ts";
import type { SealBinding, SealedMaterial } from "../record/sealed.ts";
import type { KekWrap, WrappedKek } from "../system/wrapped-kek.ts";

/** Seals and opens material for an instance. Rejects with `KeyRingUnavailable` or, for altered data, `SealBroken`. */
export interface KeyRing {
  seal(binding: SealBinding, plaintext: Uint8Array): Promise<SealedMaterial>;
  /** Synchronous result when the KEK is in memory, since every Get calls this. */
  open(binding: SealBinding, sealed: SealedMaterial): Uint8Array | Promise<Uint8Array>;
}

/** The store of wrapped KEKs (partition `{sys}`). Every implementation passes `kekStoreConformance`. */
export interface KekStore {
  list(instance: string): Promise<readonly WrappedKek[]>;
  /** Undefined only if every region says so: a list may lack what a store that is still filled has not yet. */
  read(instance: string, kekId: string): Promise<WrappedKek | undefined>;
  /**
   * Durable when it resolves. With `onlyIfNone`, false when the instance has a KEK already. With `evidence`, every region
   * agrees to it.
   */
  add(
    instance: string,
    kek: WrappedKek,
    onlyIfNone: boolean,
    evidence?: readonly AuditEvent[],
  ): Promise<boolean>;
  /**
   * Replaces one region's wrap if its blob is still `expected`, or gives the region its first if `expected` is empty;
   * durable when it resolves true. False if the blob is another one, or if the KEK is not known.
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

/** A root of trust's own description: `name` identifies its root key and is stored beside each wrap. */
export interface RootDescription {
  readonly kind: string;
  readonly name: string;
  readonly currentVersion: string;
}

/** A root key that a root of trust offers. */
export interface RootKey {
  /** The id in an instance's reference. */
  readonly id: string;
  readonly name: string;
  readonly aliases: readonly string[];
  readonly keyRing?: string;
  /** As the root of trust calls it: `Active`, `Suspended`, `Deactivated`, `Destroyed`. */
  readonly state: string;
  /** Whether it can become an instance's root key now. */
  readonly usable: boolean;
  readonly currentVersion?: string;
  readonly createdMs?: number;
}

/** What the settings of a root of trust allow. */
export interface RootLimits {
  /** How long one call may take. */
  readonly deadlineMs: number;
  /** Maximum number of concurrent calls. */
  readonly inFlightMax: number;
}

/**
 * One root key of one root of trust, which wraps KEKs. Rejects with `RootOfTrustError` whose `failure` distinguishes
 * retry from refusal, or with `SealBroken` for a blob that it did not wrap. Every implementation passes
 * `rootOfTrustConformance`.
 */
export interface RootOfTrust {
  /** `local`, `key-protect`, `dedicated-key-protect`, `hpcs` or `pkcs11`. */
  readonly kind: string;
  /** Undefined where there are no such settings. */
  readonly limits?: RootLimits;
  describe(): Promise<RootDescription>;
  wrap(plaintext: Uint8Array, additionalData: Uint8Array): Promise<RootWrap>;
  unwrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootUnwrap>;
  /** Re-wraps a blob under the current version, inside the root of trust if it can; undefined if it is current. */
  rewrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootWrap | undefined>;
  /** The root keys that its credentials can list; its own need not be among them. */
  rootKeys(): Promise<readonly RootKey[]>;
  /** Resolves when the credentials' permission and the root key's state let it serve an instance. */
  validate(): Promise<void>;
  /** Wraps and unwraps random bytes; resolves if the root of trust does its work. */
  probe(): Promise<void>;
  /** Forgets secrets and ends connections; later calls are `unavailable`. May be called any number of times. */
  close(): Promise<void>;
}
