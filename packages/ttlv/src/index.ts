export { bigIntegerFromBigint, bigIntegerToBigint } from "./big-integer.ts";
export {
  bigInteger,
  boolean,
  byteString,
  dateTime,
  dateTimeExtended,
  enumeration,
  integer,
  interval,
  longInteger,
  structure,
  textString,
} from "./build.ts";
export { decode, defaultLimits, type Limits } from "./decode.ts";
export { encode, encodedLength } from "./encode.ts";
export { FrameTooLong, TtlvError } from "./error.ts";
export { type FrameLimits, FrameReader } from "./frame-reader.ts";
export { toHex } from "./hex.ts";
export {
  type BigInteger,
  type BooleanItem,
  type ByteString,
  type DateTime,
  type DateTimeExtended,
  type Enumeration,
  type Integer,
  type Interval,
  type Item,
  ItemType,
  type LongInteger,
  type Structure,
  type TextString,
} from "./item.ts";
export { type Names, print } from "./print.ts";
