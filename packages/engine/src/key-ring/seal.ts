import { createCipheriv, createDecipheriv, createHmac, type KeyObject } from "node:crypto";
import { SealBroken } from "../base/errors.ts";
import type { SealBinding, SealedMaterial } from "../record/sealed.ts";

/** Bytes of a KEK. */
export const kekBytes = 32;
/** Bytes of a seal's nonce. It is random, and seals are counted: an alert comes at half of the 2^32 that this allows. */
export const nonceBytes = 12;

const algorithm = "aes-256-gcm";
const authenticationTagBytes = 16;
const sealFormat = 1;
const checkBytes = 16;

/**
 * Seals material with AES-256-GCM under a KEK, bound to the object that it belongs to. The key is a
 * `KeyObject` here and below, since Node takes five times as long to make a cipher from a key in bytes.
 */
export function sealMaterial(
  kek: { readonly id: string; readonly key: KeyObject },
  nonce: Uint8Array,
  binding: SealBinding,
  plaintext: Uint8Array,
): SealedMaterial {
  const cipher = createCipheriv(algorithm, kek.key, nonce, {
    authTagLength: authenticationTagBytes,
  });
  cipher.setAAD(bindingData(binding));
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  return { kekId: kek.id, nonce, ciphertext };
}

/**
 * The nonce of a seal that takes the place of another one. It is computed from the plaintext and what that is bound to, so
 * that no two plaintexts share one, and every region makes the same bytes, over whatever KEKs the seal came: one may
 * skip a KEK that another has used.
 */
export function resealNonce(
  key: KeyObject,
  binding: SealBinding,
  plaintext: Uint8Array,
): Uint8Array {
  const { instance, uniqueIdentifier, objectType, part = "object" } = binding;
  const texts = [instance, uniqueIdentifier, String(objectType), part];
  const mac = createHmac("sha256", key).update(lengthPrefixed("holdfast-reseal-1", texts));
  return mac.update(plaintext).digest().subarray(0, nonceBytes);
}

/** The inverse of `sealMaterial`. Throws `SealBroken` for anything altered, or bound to something else. */
export function openMaterial(
  key: KeyObject,
  binding: SealBinding,
  sealed: SealedMaterial,
): Uint8Array {
  const { nonce, ciphertext } = sealed;
  const length = ciphertext.length - authenticationTagBytes;
  if (nonce.length !== nonceBytes || length < 0)
    throw new SealBroken("sealed material is cut short");
  const decipher = createDecipheriv(algorithm, key, nonce, {
    authTagLength: authenticationTagBytes,
  });
  decipher.setAAD(bindingData(binding));
  decipher.setAuthTag(ciphertext.subarray(length));
  const plaintext = decipher.update(ciphertext.subarray(0, length));
  try {
    // GCM is a stream mode: the plaintext is complete here, and `final` only verifies it.
    decipher.final();
  } catch (cause) {
    plaintext.fill(0);
    throw new SealBroken("sealed material is not what was sealed", { cause });
  }
  return plaintext;
}

/** What a wrapped KEK is bound to: its instance and its id. */
export function kekData(instance: string, kekId: string): Uint8Array {
  return lengthPrefixed("holdfast-kek", [instance, kekId]);
}

/** Identifies a KEK without revealing anything about it: HMAC-SHA-256 under it, cut to 16 bytes (RFC 2104, 5). */
export function kekCheck(key: Uint8Array | KeyObject, instance: string, kekId: string): Uint8Array {
  const data = lengthPrefixed("holdfast-kek-check", [instance, kekId]);
  return createHmac("sha256", key).update(data).digest().subarray(0, checkBytes);
}

function bindingData(binding: SealBinding): Uint8Array {
  const { instance, uniqueIdentifier, objectType, part } = binding;
  return lengthPrefixed(part === undefined ? "holdfast-object" : `holdfast-${part}`, [
    String(sealFormat),
    instance,
    uniqueIdentifier,
    String(objectType),
  ]);
}

/** Joins texts so that no two lists give the same bytes. */
function lengthPrefixed(purpose: string, texts: readonly string[]): Uint8Array {
  let joined = `${purpose.length}:${purpose}`;
  for (const text of texts) joined += `${text.length}:${text}`;
  return Buffer.from(joined, "utf8");
}
