/** One DER value: its tag, its content and itself with the header. */
export interface Der {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly encoded: Uint8Array;
}

/** Bytes that are not DER. */
export class DerError extends Error {
  override readonly name = "DerError";
}

/** The tags that certificates are made of (X.690, 8). */
export const derTags = {
  Boolean: 0x01,
  Integer: 0x02,
  OctetString: 0x04,
  ObjectIdentifier: 0x06,
  Sequence: 0x30,
  Set: 0x31,
} as const;

/** The values in `bytes`, one after the other; a `DerError` for anything else. */
export function derValues(bytes: Uint8Array): readonly Der[] {
  const values: Der[] = [];
  let at = 0;
  while (at < bytes.length) {
    const value = derValue(bytes, at);
    values.push(value);
    at += value.encoded.length;
  }
  return values;
}

function derValue(bytes: Uint8Array, at: number): Der {
  const tag = bytes[at] ?? 0;
  const first = bytes[at + 1];
  if (first === undefined || (tag & 0x1f) === 0x1f) throw new DerError("a value has no length");
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 4) throw new DerError("a length is not definite");
    length = 0;
    for (const byte of bytes.subarray(start, start + count)) length = length * 256 + byte;
    start += count;
  }
  const end = start + length;
  if (end > bytes.length) throw new DerError("a value runs past its end");
  return { tag, content: bytes.subarray(start, end), encoded: bytes.subarray(at, end) };
}

/** The only value in `bytes`, which must have this tag. */
export function derOne(bytes: Uint8Array, tag: number): Der {
  const [value, ...more] = derValues(bytes);
  if (value?.tag !== tag || more.length > 0) throw new DerError(`not one value of tag ${tag}`);
  return value;
}

/** An object identifier in dotted form (X.690, 8.19). */
export function objectIdentifier(content: Uint8Array): string {
  const parts: number[] = [];
  let part = 0;
  for (const byte of content) {
    part = part * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    if (parts.length === 0) {
      const root = Math.min(2, Math.floor(part / 40));
      parts.push(root, part - root * 40);
    } else {
      parts.push(part);
    }
    part = 0;
  }
  return parts.join(".");
}

/** The text of a DER string of any kind; any other value is shown as hex. */
export function derText({ tag, content, encoded }: Der): string {
  const buffer = Buffer.from(content.buffer, content.byteOffset, content.length);
  switch (tag) {
    case 0x0c:
      return buffer.toString("utf8");
    case 0x12:
    case 0x13:
    case 0x14:
    case 0x16:
    case 0x1a:
      return buffer.toString("latin1");
    case 0x1e:
      return content.length % 2 === 0 ? Buffer.from(buffer).swap16().toString("utf16le") : "";
    default:
      return `#${Buffer.from(encoded).toString("hex")}`;
  }
}
