import type { RootKey, RootOfTrustFailure, RootUnwrap, RootWrap } from "@holdfast/engine";

/** The operations of a token for a root of trust, in its own process. `rootKey` is the label of the key's versions. */
export interface TokenOperations {
  describe(rootKey: string): Promise<{ readonly identity: string; readonly version: number }>;
  wrap(
    rootKey: string,
    plaintext: Uint8Array,
    additionalData: Uint8Array,
    iv: Uint8Array,
  ): Promise<RootWrap>;
  /** `iv` is for the case that the key is rewrapped. */
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
  /** Rejects unless the token supports the required mechanisms and has the key. */
  check(rootKey: string): Promise<void>;
  /** Creates the first version of a root key, or the next one; returns its number. */
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
  /** `tried`: the token itself refused the PIN, and counts that try; otherwise the PIN was not tried. */
  | { readonly kind: "pinRefused"; readonly message: string; readonly tried: boolean };

/** The answer to a call; `lost` means that this process should be replaced. */
export type HostAnswer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly fault: HostFault; readonly lost: boolean };
