import { createCipheriv, createDecipheriv, scrypt } from "node:crypto";
import type { Ids } from "@holdfast/engine";

const format = "encrypted-1";
const algorithm = "aes-256-gcm";
const [keyBytes, saltBytes, nonceBytes, tagBytes] = [32, 16, 12, 16];
/** Each guess costs about a quarter of a second and 128 MiB. */
const cost = { N: 1 << 17, r: 8, p: 1 };
/** The highest cost that a file may set: the memory is this machine's. */
const costMax = { N: 1 << 20, r: 16, p: 4 } as const;

/** A key file under a passphrase: the encrypted content, and everything that derives the key except the passphrase. */
interface EncryptedFile {
  readonly format: typeof format;
  readonly scrypt: { readonly N: number; readonly r: number; readonly p: number };
  readonly salt: string;
  readonly nonce: string;
  readonly ciphertext: string;
}

/** Whether the content of a key file is encrypted. */
export function isEncrypted(content: unknown): content is EncryptedFile {
  return typeof content === "object" && content !== null && "format" in content
    ? content.format === format
    : false;
}

/** Encrypts a key file's content (scrypt, AES-256-GCM). */
export async function encryptVersions(
  content: object,
  passphrase: string,
  ids: Ids,
  N: number = cost.N,
): Promise<EncryptedFile> {
  const [salt, nonce] = [saltBytes, nonceBytes].map((length) =>
    Buffer.from(ids.randomBytes(length)),
  ) as [Buffer, Buffer];
  const head = {
    format,
    scrypt: { ...cost, N },
    salt: salt.toString("base64"),
    nonce: nonce.toString("base64"),
  } as const;
  const key = await derive(passphrase, salt, head.scrypt);
  const plain = Buffer.from(JSON.stringify(content));
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  cipher.setAAD(bound(head));
  const parts = [cipher.update(plain), cipher.final(), cipher.getAuthTag()];
  for (const secret of [key, plain]) secret.fill(0);
  return { ...head, ciphertext: Buffer.concat(parts).toString("base64") };
}

/** Decrypts the content; undefined if the passphrase is wrong or the file was altered. */
export async function decryptVersions(
  file: EncryptedFile,
  passphrase: string,
): Promise<Buffer | undefined> {
  const { ciphertext, ...head } = file;
  if (!isSound(file)) return undefined;
  const [salt, nonce, sealed] = [head.salt, head.nonce, ciphertext].map((text) =>
    Buffer.from(text, "base64"),
  ) as [Buffer, Buffer, Buffer];
  if (nonce.length !== nonceBytes || sealed.length < tagBytes) return undefined;
  const key = await derive(passphrase, salt, head.scrypt);
  const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  decipher.setAAD(bound(head));
  decipher.setAuthTag(sealed.subarray(-tagBytes));
  const plain = decipher.update(sealed.subarray(0, -tagBytes));
  key.fill(0);
  try {
    decipher.final();
    return plain;
  } catch {
    plain.fill(0);
    return undefined;
  }
}

function isSound({ scrypt: asked, salt, nonce, ciphertext }: EncryptedFile): boolean {
  if (![salt, nonce, ciphertext].every((text) => typeof text === "string")) return false;
  if (typeof asked !== "object" || asked === null) return false;
  return (["N", "r", "p"] as const).every((name) => {
    const value = asked[name];
    return Number.isInteger(value) && value >= 1 && value <= costMax[name];
  });
}

function bound({ format: form, scrypt: used, salt, nonce }: Omit<EncryptedFile, "ciphertext">) {
  return Buffer.from(JSON.stringify([form, used.N, used.r, used.p, salt, nonce]));
}

function derive(passphrase: string, salt: Buffer, asked: EncryptedFile["scrypt"]): Promise<Buffer> {
  const maxmem = 256 * asked.N * asked.r;
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, keyBytes, { ...asked, maxmem }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
