/** Key material sealed under an instance's KEK (AES-256-GCM). */
export interface SealedMaterial {
  readonly kekId: string;
  readonly nonce: Uint8Array;
  /** Ciphertext followed by the 16-byte authentication tag. */
  readonly ciphertext: Uint8Array;
}

/** What a seal is bound to in addition to its bytes. */
export interface SealBinding {
  readonly instance: string;
  readonly uniqueIdentifier: string;
  readonly objectType: number;
  /** The part of the object that is sealed; its material if absent. */
  readonly part?: "digest";
}
