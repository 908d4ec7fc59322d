import { createCipheriv, createDecipheriv, createHash } from "node:crypto";
import { type Ids, SealBroken } from "@holdfast/engine";

const algorithm = "aes-256-gcm";
/** First bytes of every blob; they identify the scheme. */
const scheme = Buffer.from("HFI1", "ascii");
const lengthBytes = 2;
const headerBytes = scheme.length + lengthBytes;
const nonceBytes = 12;
const tagBytes = 16;

/** Length of the key that the key manager wraps. */
export const dataKeyBytes = 32;

/** The parts of a blob: the wrapped data key, and what the data key seals. */
export interface WrappedKey {
  /** Base64, as the key manager expects it. */
  readonly ciphertext: string;
  readonly sealed: Uint8Array;
}

/**
 * Seals under a separate data key. The key manager receives only the data key. HPCS wraps without authentication
 * (AES-CBC), so this seal protects integrity and the additional data, for both key managers alike.
 */
export function sealUnder(
  dataKey: Uint8Array,
  plaintext: Uint8Array,
  additionalData: Uint8Array,
  ids: Ids,
): Uint8Array {
  const nonce = ids.randomBytes(nonceBytes);
  const cipher = createCipheriv(algorithm, dataKey, nonce, { authTagLength: tagBytes });
  cipher.setAAD(Buffer.concat([scheme, additionalData]));
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** Opens what `sealUnder` sealed; throws if data key, bytes or additional data differ. */
export function openUnder(
  dataKey: Uint8Array,
  sealed: Uint8Array,
  additionalData: Uint8Array,
): Uint8Array {
  if (dataKey.length !== dataKeyBytes) throw broken();
  const nonce = sealed.subarray(0, nonceBytes);
  const decipher = createDecipheriv(algorithm, dataKey, nonce, { authTagLength: tagBytes });
  decipher.setAAD(Buffer.concat([scheme, additionalData]));
  decipher.setAuthTag(sealed.subarray(-tagBytes));
  const plaintext = decipher.update(sealed.subarray(nonceBytes, -tagBytes));
  try {
    decipher.final();
  } catch (cause) {
    plaintext.fill(0);
    throw broken(cause);
  }
  return plaintext;
}

/** The `aad` that Key Protect also binds: texts of at most 255 characters, so a digest. */
export function aadOf(additionalData: Uint8Array): readonly string[] {
  return [createHash("sha256").update(scheme).update(additionalData).digest("hex")];
}

/** Undefined if the ciphertext is not valid base64. */
export function encodeWrapped({ ciphertext, sealed }: WrappedKey): Uint8Array | undefined {
  const bytes = Buffer.from(ciphertext, "base64");
  const canonical = bytes.length > 0 && bytes.toString("base64") === ciphertext;
  if (!canonical || bytes.length > 0xffff) return undefined;
  const header = Buffer.alloc(headerBytes);
  scheme.copy(header);
  header.writeUInt16BE(bytes.length, scheme.length);
  return Buffer.concat([header, bytes, sealed]);
}

/** Throws on bytes that are not a blob of this scheme. */
export function decodeWrapped(blob: Uint8Array): WrappedKey {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.length);
  const ours = bytes.length >= headerBytes && bytes.subarray(0, scheme.length).equals(scheme);
  const end = ours ? headerBytes + bytes.readUInt16BE(scheme.length) : 0;
  if (!ours || end === headerBytes || bytes.length < end + nonceBytes + tagBytes) {
    throw new SealBroken("not wrapped by an IBM key manager");
  }
  const ciphertext = bytes.toString("base64", headerBytes, end);
  return { ciphertext, sealed: bytes.subarray(end) };
}

function broken(cause?: unknown): SealBroken {
  return new SealBroken("a wrapped key does not authenticate", { cause });
}
