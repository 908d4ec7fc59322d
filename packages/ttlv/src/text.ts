import { TtlvError } from "./error.ts";
import { headerBytes, view } from "./layout.ts";

// A byte order mark is part of the text: without it, the text would not encode back to the bytes.
const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8Encoder = new TextEncoder();

/** Up to here, a loop beats the platform's codec; for longer text, it builds no flat string. */
const shortReadMax = 12;
const shortWriteMax = 64;

/** Reads strict UTF-8 (RFC 3629): the value that starts at `start`. */
export function readText(bytes: Uint8Array, start: number, length: number): string {
  if (length <= shortReadMax) {
    const text = readAscii(bytes, start, start + length);
    if (text !== undefined) return text;
  }
  try {
    return utf8Decoder.decode(view(bytes, start, length));
  } catch {
    throw new TtlvError("TextString is not UTF-8", start - headerBytes);
  }
}

function readAscii(bytes: Uint8Array, start: number, end: number): string | undefined {
  let text = "";
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte > 0x7f) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

/** The length of `text` in UTF-8 bytes; -1 if it has an unpaired surrogate. */
export function utf8Length(text: string): number {
  let length = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit <= 0x7f) continue;
    if (unit <= 0x7ff) length += 1;
    else if (unit < 0xd800 || unit > 0xdfff) length += 2;
    else {
      const next = text.charCodeAt(at + 1);
      if (unit > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) return -1;
      // Two UTF-16 units are four bytes.
      length += 2;
      at += 1;
    }
  }
  return length;
}

/** Writes well-formed text at `start` and returns its length in bytes. */
export function writeText(bytes: Uint8Array, start: number, text: string): number {
  const { length } = text;
  if (length > shortWriteMax) return writeLong(bytes, start, text);
  for (let at = 0; at < length; at++) {
    const unit = text.charCodeAt(at);
    if (unit > 0x7f) return writeLong(bytes, start, text);
    bytes[start + at] = unit;
  }
  return length;
}

function writeLong(bytes: Uint8Array, start: number, text: string): number {
  return utf8Encoder.encodeInto(text, view(bytes, start, bytes.length - start)).written;
}
