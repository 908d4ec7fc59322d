/** One element of DER (X.690, 8.1): its tag, where it begins and ends, and where its content begins. */
export interface Element {
  readonly tag: number;
  readonly start: number;
  readonly from: number;
  readonly end: number;
}

/** Longer tags than one byte, and lengths of more than four, are in no revocation list. */
const lengthBytesMax = 4;

/** Reads the element at `at`, which must end at `end` or before. Throws an Error with one line. */
export function elementAt(bytes: Uint8Array, at: number, end: number): Element {
  const [tag, first] = [bytes[at], bytes[at + 1]];
  if (at + 2 > end || tag === undefined || first === undefined) throw cutOff();
  if ((tag & 0x1f) === 0x1f) throw new Error("it has a tag that cannot be read");
  let [from, length] = [at + 2, first];
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > lengthBytesMax) {
      throw new Error("it has a length that cannot be read");
    }
    if (from + count > end) throw cutOff();
    length = 0;
    for (const byte of bytes.subarray(from, from + count)) length = length * 256 + byte;
    from += count;
  }
  if (from + length > end) throw cutOff();
  return { tag, start: at, from, end: from + length };
}

/** The elements in the content of another one, in order; at most `most`. */
export function elementsIn(bytes: Uint8Array, outer: Element, most: number): readonly Element[] {
  const found: Element[] = [];
  for (let at = outer.from; at < outer.end; ) {
    if (found.length === most) throw new Error("it has more parts than a revocation list");
    const element = elementAt(bytes, at, outer.end);
    found.push(element);
    at = element.end;
  }
  return found;
}

/** An element with this tag and content. */
export function encoded(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const length = body.length;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), body]);
  const digits = Buffer.alloc(lengthBytesMax);
  digits.writeUInt32BE(length);
  const plain = digits.subarray(digits.findIndex((byte) => byte !== 0));
  return Buffer.concat([Buffer.of(tag, 0x80 | plain.length), plain, body]);
}

function cutOff(): Error {
  return new Error("it is cut off, or no DER");
}
