import { BlobBroken } from "./faults.ts";

/** First bytes of every blob. They mean AES-CBC with padding, then HMAC-SHA-256. The root key's version follows. */
const scheme = Buffer.from("HFP1", "ascii");
const headerBytes = scheme.length + 4;
const macBytes = 32;
const blockBytes = 16;

/** Length of a blob's initialisation vector. */
export const ivBytes = blockBytes;

/** The parts of a blob. */
export interface BlobParts {
  readonly version: number;
  readonly iv: Buffer;
  readonly ciphertext: Buffer;
  readonly mac: Buffer;
}

/** The input of the blob's HMAC: all other parts, and the additional data with its length. */
export function authenticated(parts: Omit<BlobParts, "mac">, additionalData: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(additionalData.length);
  return Buffer.concat([header(parts.version), length, additionalData, parts.iv, parts.ciphertext]);
}

/** Encodes a blob. */
export function printBlob({ version, iv, ciphertext, mac }: BlobParts): Buffer {
  return Buffer.concat([header(version), iv, ciphertext, mac]);
}

/** Decodes a blob; throws `BlobBroken` on a blob of another kind of root. */
export function parseBlob(bytes: Uint8Array): BlobParts {
  const blob = Buffer.from(bytes);
  const ciphertextBytes = blob.length - headerBytes - ivBytes - macBytes;
  const ours = blob.subarray(0, scheme.length).equals(scheme);
  if (!ours || ciphertextBytes < blockBytes || ciphertextBytes % blockBytes !== 0) {
    throw new BlobBroken("not wrapped by a PKCS#11 root of trust");
  }
  const ivEnd = headerBytes + ivBytes;
  return {
    version: blob.readUInt32BE(scheme.length),
    iv: blob.subarray(headerBytes, ivEnd),
    ciphertext: blob.subarray(ivEnd, -macBytes),
    mac: blob.subarray(-macBytes),
  };
}

function header(version: number): Buffer {
  const bytes = Buffer.alloc(headerBytes);
  scheme.copy(bytes);
  bytes.writeUInt32BE(version, scheme.length);
  return bytes;
}
