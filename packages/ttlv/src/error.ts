/** What is wrong with bytes or an item, and where: the only error that this package throws. */
export class TtlvError extends Error {
  override readonly name = "TtlvError";
  /** Byte offset of the faulty item: in the input of a decoder, or in the output of an encoder. */
  readonly offset: number;

  constructor(what: string, offset: number) {
    super(`${what} (at byte ${offset})`);
    this.offset = offset;
  }
}

/** A message that is longer than the reader takes. */
export class FrameTooLong extends TtlvError {}
