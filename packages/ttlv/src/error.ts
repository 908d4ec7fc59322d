/** What is wrong with some bytes or with an item, and where: the only thing this package throws. */
export class TtlvError extends Error {
  override readonly name = "TtlvError";
  /** Byte offset of the item at fault: in the input of a decoder, in the output of an encoder. */
  readonly offset: number;

  constructor(what: string, offset: number) {
    super(`${what} (at byte ${offset})`);
    this.offset = offset;
  }
}
