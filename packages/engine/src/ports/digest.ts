import type { Leaf } from "./own-store.ts";

const bytesPerDigest = 16;

/** The first byte of an identifier (a UUID), by which digests and leaves are grouped. */
export function firstByteOf(uniqueIdentifier: string): number {
  const byte = Number.parseInt(uniqueIdentifier.slice(0, 2), 16);
  return Number.isNaN(byte) ? 0 : byte;
}

/** The digests of the given leaves, as `OwnStore.digests` returns them. */
export function digestsOf(leaves: Iterable<Leaf>): Uint8Array {
  const digests = new Uint8Array(256 * bytesPerDigest);
  for (const { uniqueIdentifier, tag } of leaves) {
    const at = firstByteOf(uniqueIdentifier) * bytesPerDigest;
    const bytes = Buffer.from(tag, "hex");
    for (const [index, byte] of bytes.entries()) {
      digests[at + index] = (digests[at + index] ?? 0) ^ byte;
    }
  }
  return digests;
}

/**
 * The mask of `OwnStore.leaves` for the bytes whose digests differ: bit `byte & 7` of its byte `byte >> 3`. Undefined
 * if none differ.
 */
export function differingMask(one: Uint8Array, other: Uint8Array): Uint8Array | undefined {
  if (Buffer.compare(one, other) === 0) return undefined;
  const mask = new Uint8Array(32);
  let differs = false;
  for (let byte = 0; byte < 256; byte += 1) {
    const [start, end] = [byte * bytesPerDigest, (byte + 1) * bytesPerDigest];
    if (Buffer.compare(one.subarray(start, end), other.subarray(start, end)) === 0) continue;
    mask[byte >> 3] = (mask[byte >> 3] ?? 0) | (1 << (byte & 7));
    differs = true;
  }
  return differs ? mask : undefined;
}

/** Whether a mask of `OwnStore.leaves` asks for an identifier. */
export function inMask(mask: Uint8Array, uniqueIdentifier: string): boolean {
  const byte = firstByteOf(uniqueIdentifier);
  return (((mask[byte >> 3] ?? 0) >> (byte & 7)) & 1) === 1;
}
