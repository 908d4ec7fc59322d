import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { badField, Refusal } from "@holdfast/server/key-protect-refusals";
import { type Key, newestOf, type Version, type World } from "./world.ts";

const format = "4.0.0";
const tagBytes = 16;

interface Parts {
  readonly ciphertext: string;
  readonly iv: string;
  readonly version: string;
  readonly handle: string;
}

/**
 * Encrypts under a version of a root key; returns base64 of a JSON text, like the key manager. HPCS uses AES-CBC with
 * padding, which detects few changes; Key Protect uses AES-GCM.
 */
export function encrypt(
  { kind }: World,
  version: Version,
  plaintext: Uint8Array,
  aad: readonly string[],
): string {
  const key = Buffer.from(version.material, "base64");
  const handle = handleOf(version);
  const iv = randomBytes(kind === "hpcs" ? 16 : 12);
  const bits = key.length * 8;
  const sealed = () => {
    if (kind === "hpcs") {
      const cipher = createCipheriv(`aes-${bits}-cbc`, key, iv);
      return Buffer.concat([cipher.update(plaintext), cipher.final()]);
    }
    const cipher = createCipheriv(gcm(bits), key, iv, { authTagLength: tagBytes });
    cipher.setAAD(additionalData(handle, aad));
    return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  };
  const parts = { ciphertext: sealed().toString("base64"), iv: iv.toString("base64") };
  return Buffer.from(JSON.stringify({ ...parts, version: format, handle })).toString("base64");
}

/** Decrypts with the version that encrypted it; refuses a ciphertext that no version made. */
export function decrypt(
  { kind }: World,
  key: Key,
  text: string,
  aad: readonly string[],
): { readonly plaintext: Buffer; readonly version: Version } {
  const parts = read(text);
  const version = key.versions.findLast((known) => handleOf(known) === parts.handle);
  if (version === undefined) throw unprocessable();
  const material = Buffer.from(version.material, "base64");
  const bits = material.length * 8;
  const [iv, sealed] = [Buffer.from(parts.iv, "base64"), Buffer.from(parts.ciphertext, "base64")];
  try {
    if (kind === "hpcs") {
      const decipher = createDecipheriv(`aes-${bits}-cbc`, material, iv);
      return { plaintext: Buffer.concat([decipher.update(sealed), decipher.final()]), version };
    }
    const decipher = createDecipheriv(gcm(bits), material, iv, { authTagLength: tagBytes });
    decipher.setAAD(additionalData(parts.handle, aad));
    decipher.setAuthTag(sealed.subarray(-tagBytes));
    const open = [decipher.update(sealed.subarray(0, -tagBytes)), decipher.final()];
    return { plaintext: Buffer.concat(open), version };
  } catch {
    throw unprocessable();
  }
}

/** Whether a version is the one that wraps now. */
export function isNewest(key: Key, version: Version): boolean {
  return newestOf(key).id === version.id;
}

/** Decodes standard base64 with padding; a refusal names the position of the first wrong byte. */
export function base64Field(what: string, name: string, text: unknown, must: string): Buffer {
  if (typeof text !== "string") throw badField(what, name, must);
  const wrong = /^[A-Za-z0-9+/]*/.exec(text)?.[0].length ?? 0;
  const rest = text.slice(wrong);
  if (text.length % 4 !== 0 || !/^={0,2}$/.test(rest)) {
    throw badField(what, name, `${must}: illegal base64 data at input byte ${wrong}`);
  }
  return Buffer.from(text, "base64");
}

/** Identifies material, not a key: keys with the same material open each other's ciphertexts. */
function handleOf({ material }: Version): string {
  const hex = createHash("sha256").update(`handle ${material}`).digest("hex");
  return [8, 12, 16, 20, 32].map((end, at) => hex.slice([0, 8, 12, 16, 20][at], end)).join("-");
}

function additionalData(handle: string, aad: readonly string[]): Buffer {
  return Buffer.from(JSON.stringify([format, handle, ...aad]));
}

function gcm(bits: number): "aes-128-gcm" | "aes-192-gcm" | "aes-256-gcm" {
  if (bits === 128) return "aes-128-gcm";
  return bits === 192 ? "aes-192-gcm" : "aes-256-gcm";
}

/** Accepts only exactly the text that was returned, so that every changed byte is detected. */
function read(text: string): Parts {
  const what = "Unwrap with key could not be performed";
  const bytes = base64Field(
    what,
    "ciphertext",
    text,
    "the original base64 encoded ciphertext from the wrap operation",
  );
  try {
    const { ciphertext, iv, version, handle } = JSON.parse(bytes.toString("utf8")) as Parts;
    const again = JSON.stringify({
      ciphertext: Buffer.from(ciphertext, "base64").toString("base64"),
      iv: Buffer.from(iv, "base64").toString("base64"),
      version: format,
      handle,
    });
    if (version === format && Buffer.from(again).equals(bytes)) {
      return { ciphertext, iv, version, handle };
    }
  } catch {}
  throw unprocessable();
}

function unprocessable(): Refusal {
  return new Refusal(422, "Action could not be performed on key", {
    code: "UNPROCESSABLE_CIPHERTEXT_ERR",
    message: "The provided ciphertext is invalid or corrupted",
  });
}
