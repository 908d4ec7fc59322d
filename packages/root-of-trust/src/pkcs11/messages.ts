import type { RootKey, RootOfTrustFailure, RootUnwrap, RootWrap } from "@holdfast/engine";

/** What a token does for a root of trust, in a process of its own. `rootKey` is the label of the key's versions. */
export interface TokenOperations {
  describe(rootKey: string): Promise<{ readonly identity: string; readonly version: number }>;
  wrap(
    rootKey: string,
    plaintext: Uint8Array,
    additionalData: Uint8Array,
    iv: Uint8Array,
  ): Promise<RootWrap>;
  /** `iv` serves where it is wrapped anew. */
  unwrap(
    rootKey: string,
    blob: Uint8Array,
    additionalData: Uint8Array,
    iv: Uint8Array,
  ): Promise<RootUnwrap>;
  rewrap(
    rootKey: string,
    blob: Uint8Array,
    additionalData: Uint8Array,
    iv: Uint8Array,
  ): Promise<RootWrap | undefined>;
  rootKeys(): Promise<readonly RootKey[]>;
  /** Whether the token can do all that is asked of it, and has the key. */
  check(rootKey: string): Promise<void>;
  /** Makes the first version of a root key, or the next one; answers its number. */
  addVersion(rootKey: string, first: boolean): Promise<number>;
}

/** A call to the process that holds the token. */
export interface HostRequest {
  readonly id: number;
  readonly name: keyof TokenOperations;
  readonly args: readonly unknown[];
  readonly pin: string;
}

/** Why a call failed. */
export type HostFault =
  | { readonly kind: "failure"; readonly failure: RootOfTrustFailure; readonly message: string }
  | { readonly kind: "broken"; readonly message: string }
  /** `tried`: the token itself said so, which it counts; otherwise it was not asked. */
  | { readonly kind: "pinRefused"; readonly message: string; readonly tried: boolean };

/** Its answer; `lost` says that this process had better be replaced by a new one. */
export type HostAnswer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly fault: HostFault; readonly lost: boolean };
