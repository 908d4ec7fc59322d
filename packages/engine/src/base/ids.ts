/** The source of identifiers and secret bytes: a cryptographic one in the product. */
export interface Ids {
  /** A random UUID, lower case, 36 characters. */
  readonly uuid: () => string;
  readonly randomBytes: (length: number) => Uint8Array;
}
