import type { ManagedObject, Tag } from "../record/record.ts";
import type { FindPage, FindQuery } from "./find.ts";

/** Wall clock in milliseconds since the epoch; monotonic clock in milliseconds since any start. */
export interface Clock {
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
  /** Why the wall clock may not decide that a date has come; absent where it is not compared with any other. */
  readonly doubt?: () => ClockDoubt | undefined;
}

/** Clocks disagree. */
export interface ClockDoubt {
  /** The latest of the other clocks, seconds: what is not due by it has not come, whatever this node's clock shows. */
  readonly latestSeconds: number;
  /** Names the clock. */
  readonly reason: string;
}

/** Where identifiers and secret bytes come from: a cryptographic source in the product. */
export interface Ids {
  /** A random UUID, lower case, 36 characters. */
  readonly uuid: () => string;
  readonly randomBytes: (length: number) => Uint8Array;
}

/** A record as the store holds it; `tag` is the version that an update names. */
export interface StoredObject {
  readonly object: ManagedObject;
  readonly tag: Tag;
}

/** One record's change. The store derives index terms from the objects (`indexTerms`). */
export type Change =
  | { readonly kind: "create"; readonly after: ManagedObject }
  | { readonly kind: "update"; readonly before: StoredObject; readonly after: ManagedObject };

/** Why a store refused a change that it understood; nothing was written. */
export type CommitOutcome =
  | {
      readonly kind: "committed";
      /** The regions that acknowledged it, where that is known: in these it is durable. */
      readonly regions?: readonly string[];
    }
  /** The record's tag is no longer the one that `before` carries, or a created identifier exists. */
  | { readonly kind: "conflict"; readonly uniqueIdentifier: string }
  /** A unique index term (a Name) is held by another live object. */
  | { readonly kind: "nameTaken"; readonly uniqueIdentifier: string; readonly name: string }
  /** The instance is not Installed. */
  | { readonly kind: "instanceClosed" }
  /** An agreed operation holds the record; only a region's own store answers this. */
  | { readonly kind: "reserved"; readonly uniqueIdentifier: string; readonly operation: string }
  /** The reservation under which to write has ended; only a region's own store answers this. */
  | { readonly kind: "reservationLost"; readonly uniqueIdentifier: string };

/** How a change is made. */
export interface CommitOptions {
  /** The change needs every region's agreement (Destroy): it is made everywhere, or refused. */
  readonly agreed?: boolean;
}

/** One line of evidence. `detail` never holds key material or passwords. */
export interface AuditEvent {
  readonly time: number;
  readonly action: string;
  readonly outcome: "pending" | "success" | "failure" | "unknown";
  readonly reason?: string;
  /** Fingerprint of the client's certificate, or the user name of an administrator. */
  readonly initiator: string;
  readonly target?: string;
  readonly requestId: string;
  readonly detail?: Readonly<Record<string, string | number>>;
}

/**
 * Where managed objects live. Every implementation passes `objectStoreConformance`.
 *
 * Whatever `read` and `find` answer is *covered*: no fail-over can take it back.
 * Every method rejects with `StoreUnavailable` when it cannot tell or cannot promise, within a bounded time.
 */
export interface ObjectStore {
  /** One round trip; the answers are in the order of the identifiers. Objects of other instances are undefined. */
  read(instance: string, ids: readonly string[]): Promise<readonly (StoredObject | undefined)[]>;
  /**
   * All changes or none, in one atomic step, with the audit events; resolves when durable (after the barrier).
   * A change whose `after` has the tag of `before` writes nothing but its audit event.
   */
  commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    options?: CommitOptions,
  ): Promise<CommitOutcome>;
  /**
   * Notes that an object was served (Fresh): compare-and-set without barrier, which leaves the
   * promised change number alone. False when it lost the race or could not be done; never rejects.
   */
  markServed(instance: string, before: StoredObject, after: ManagedObject): Promise<boolean>;
  /**
   * The object of a copy that `opens` does not hold of, by another copy that it holds of; that takes the broken one's
   * place where it can be written. Undefined where there is none; absent where the store has no other copies.
   */
  heal?(
    instance: string,
    broken: StoredObject,
    opens: (object: ManagedObject) => Promise<boolean>,
  ): Promise<StoredObject | undefined>;
  /** Newest first by creation counter; a page at a time. */
  find(instance: string, query: FindQuery): Promise<FindPage>;
  /** Refusals and reads. Batched; resolves when handed over, or when durable if `strict`. */
  appendAudit(instance: string, events: readonly AuditEvent[], strict: boolean): Promise<void>;
}

/** Orders contenders on one resource. Saves wasted work; correctness rests on the record's tag. */
export interface Locks {
  /**
   * Runs `body` while holding the lock on `resource`. Waits a bounded time for it; where the lock masters cannot be
   * asked, or the wait is over, runs `body` all the same (the tag decides) and tells the observer.
   */
  withLock<Result>(resource: string, body: () => Promise<Result>): Promise<Result>;
}

/** Key material sealed under an instance's KEK (AES-256-GCM). */
export interface SealedMaterial {
  readonly kekId: string;
  readonly nonce: Uint8Array;
  /** Ciphertext followed by the 16-byte authentication tag. */
  readonly ciphertext: Uint8Array;
}

/** What a seal is bound to besides its bytes. */
export interface SealBinding {
  readonly instance: string;
  readonly uniqueIdentifier: string;
  readonly objectType: number;
  /** What of the object is sealed; its material where absent. */
  readonly part?: "digest";
}

/** Seals and opens material for an instance. Rejects with `KeyRingUnavailable` or, for altered data, `SealBroken`. */
export interface KeyRing {
  seal(binding: SealBinding, plaintext: Uint8Array): Promise<SealedMaterial>;
  /** Synchronous result when the KEK is in memory, since every Get passes here. */
  open(binding: SealBinding, sealed: SealedMaterial): Uint8Array | Promise<Uint8Array>;
}

/** A KEK wrapped by a region's root of trust. `blob` says its own scheme and root key version. */
export interface KekWrap {
  readonly region: string;
  readonly rootOfTrust: string;
  readonly rootKeyVersion: string;
  readonly blob: Uint8Array;
}

export interface WrappedKek {
  readonly id: string;
  readonly createdMs: number;
  /** Key check value (`kekCheck`): a region that is handed another key notices before it seals anything with it. */
  readonly check: Uint8Array;
  readonly wraps: readonly KekWrap[];
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
 * `unavailable`: not told, try again. The others are refusals: `denied` (credentials, permission), `disabled` (the key's
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

/** A root of trust as it says itself: `name` tells its root key from every other and stands beside each wrap. */
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
 * Who wraps KEKs: one root key of one root of trust. Rejects with `RootOfTrustError` whose `failure` tells retry from
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
  /** Forgets secrets and ends connections; whatever is used afterwards is `unavailable`. Any number of times. */
  close(): Promise<void>;
}

/** What an instance's status can be, in the order of its life. */
export const instanceStatuses = [
  "Installing",
  "Inactive",
  "Configuring",
  "Installed",
  "Removing",
  "Deleted",
] as const;

/** An instance's status. */
export type InstanceStatus = (typeof instanceStatuses)[number];

/** An instance's status, which lies in its own partition of a region's own store. */
export interface InstanceStatuses {
  /** Makes an instance Installed where it has no status; answers its status; durable when it resolves. */
  install(instance: string): Promise<InstanceStatus>;
  /** Undefined where it has none. */
  status(instance: string): Promise<InstanceStatus | undefined>;
  /**
   * Gives it the status `to` if it has one of `from`, of which undefined is none; answers what it has then; durable when
   * it resolves. One that is Deleted stays so.
   */
  move(
    instance: string,
    from: readonly (InstanceStatus | undefined)[],
    to: InstanceStatus,
  ): Promise<InstanceStatus | undefined>;
}

/** Where instances are known. In one region they are declared in the configuration and ensured at start. */
export interface InstanceStore {
  /** Makes the instance Installed if it is not known; answers its status; durable when it resolves. */
  ensure(instance: string, name: string): Promise<InstanceStatus>;
}
