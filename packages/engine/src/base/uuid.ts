import { hash } from "node:crypto";

const hexValues = new Map(
  [..."0123456789abcdef"].map((digit, value) => [digit.charCodeAt(0), value]),
);
/** Value by character code; 255 if it is not a lower-case hexadecimal digit. */
const nibbles = Uint8Array.from({ length: 128 }, (_, code) => hexValues.get(code) ?? 255);
const dash = 0x2d;

/**
 * Writes the 16 bytes of a lower-case UUID (RFC 9562, 4) at `start`; false if the text is not a valid one, and the 16
 * bytes are then undefined. Runs for every record and every record's key, so it must be fast.
 */
export function writeUuid(text: string, target: Uint8Array, start: number): boolean {
  if (text.length !== 36) return false;
  let at = start;
  for (let i = 0; i < 36; ) {
    if (i === 8 || i === 13 || i === 18 || i === 23) {
      if (text.charCodeAt(i) !== dash) return false;
      i += 1;
    }
    const high = nibbles[text.charCodeAt(i)] ?? 255;
    const low = nibbles[text.charCodeAt(i + 1)] ?? 255;
    if ((high | low) > 15) return false;
    target[at] = (high << 4) | low;
    at += 1;
    i += 2;
  }
  return true;
}

/** The lower-case UUID of the first 16 bytes. */
export function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The UUID that is derived from a text: version 8 (RFC 9562, 5.8) of its SHA-256. */
export function hashUuid(text: string): string {
  const bytes = hash("sha256", text, "buffer").subarray(0, 16);
  bytes[6] = 0x80 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  return uuidText(bytes);
}
