import { hash } from "node:crypto";

/** The hash of a token, which is all that is kept of it. */
export function hashOf(token: string): string {
  return hash("sha256", token);
}

/** Whether a text could be one of Holdfast's own tokens. */
export function isToken(text: string): boolean {
  return /^hf_[\w-]{43}$/.test(text);
}

/** A new token of 256 random bits. */
export function newToken(randomBytes: (length: number) => Uint8Array): string {
  return `hf_${Buffer.from(randomBytes(32)).toString("base64url")}`;
}
