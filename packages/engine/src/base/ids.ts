/** Where identifiers and secret bytes come from: a cryptographic source in the product. */
export interface Ids {
  /** A random UUID, lower case, 36 characters. */
  readonly uuid: () => string;
  readonly randomBytes: (length: number) => Uint8Array;
}
