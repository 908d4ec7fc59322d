import { createCipheriv, createDecipheriv, hkdfSync } from "node:crypto";
import { uuidText, writeUuid } from "@holdfast/engine";

/** Begins the text of a session; Holdfast's own tokens begin with `hf_`. */
export const sessionPrefix = "hfs_";

/** What the text of a session holds, sealed. */
export interface Session {
  /** One of Holdfast's own tokens. */
  readonly token: string;
  /** 16 random bytes in base64url. */
  readonly id: string;
  readonly beganMs: number;
}

/** A key of sessions, and the identifier of its record. */
export interface SealingKey {
  readonly id: string;
  readonly key: string;
}

const algorithm = "aes-256-gcm";
const keyIdBytes = 16;
const nonceBytes = 12;
const tagBytes = 16;
const idBytes = 16;
const timeBytes = 8;
const tokenBytes = 46;
const headBytes = keyIdBytes + nonceBytes;
const contentBytes = idBytes + timeBytes + tokenBytes;
/** Identifier of the key, nonce, content, tag: 114 bytes, which have one text only. */
const form = /^hfs_([\w-]{152})$/;
/** The format: another one gets another text here. */
const purpose = "holdfast console session 1";

/** The identifier of the key that a text says to be sealed with; undefined for a text of another form. */
export function keyIdOf(text: string): string | undefined {
  const encoded = form.exec(text)?.[1];
  return encoded === undefined ? undefined : uuidText(Buffer.from(encoded, "base64url"));
}

/** Seals a session; the nonce is random. */
export function sealSession(
  key: SealingKey,
  { token, id, beganMs }: Session,
  nonce: Uint8Array,
): string {
  const content = Buffer.alloc(contentBytes);
  content.write(id, "base64url");
  content.writeBigUInt64BE(BigInt(beganMs), idBytes);
  content.write(token, idBytes + timeBytes, "latin1");
  const keyId = Buffer.alloc(keyIdBytes);
  writeUuid(key.id, keyId, 0);
  const cipher = createCipheriv(algorithm, secretOf(key), nonce, { authTagLength: tagBytes });
  cipher.setAAD(boundTo(key));
  const sealed = [cipher.update(content), cipher.final(), cipher.getAuthTag()];
  return `${sessionPrefix}${Buffer.concat([keyId, nonce, ...sealed]).toString("base64url")}`;
}

/** Opens the text of a session; undefined if this key did not seal it. */
export function openSession(key: SealingKey, text: string): Session | undefined {
  const encoded = form.exec(text)?.[1];
  if (encoded === undefined) return undefined;
  const bytes = Buffer.from(encoded, "base64url");
  const nonce = bytes.subarray(keyIdBytes, headBytes);
  const decipher = createDecipheriv(algorithm, secretOf(key), nonce, { authTagLength: tagBytes });
  decipher.setAAD(boundTo(key));
  decipher.setAuthTag(bytes.subarray(headBytes + contentBytes));
  const content = decipher.update(bytes.subarray(headBytes, headBytes + contentBytes));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return {
    id: content.toString("base64url", 0, idBytes),
    beganMs: Number(content.readBigUInt64BE(idBytes)),
    token: content.toString("latin1", idBytes + timeBytes),
  };
}

function secretOf({ key }: SealingKey): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", Buffer.from(key, "base64"), "", purpose, 32));
}

function boundTo({ id }: SealingKey): Uint8Array {
  return Buffer.from(`${purpose} ${id}`, "latin1");
}
