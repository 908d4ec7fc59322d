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
