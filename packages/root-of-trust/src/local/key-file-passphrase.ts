import { createCipheriv, createDecipheriv, getFips, pbkdf2, scrypt } from "node:crypto";
import type { Ids } from "@holdfast/engine";

/** The key comes from the passphrase by scrypt, or by PBKDF2 with HMAC-SHA-256, which FIPS mode needs. */
const formats = { scrypt: "encrypted-1", pbkdf2: "encrypted-2" } as const;
const algorithm = "aes-256-gcm";
const [keyBytes, saltBytes, nonceBytes, tagBytes] = [32, 16, 12, 16];
/** Each guess costs about a quarter of a second, and with scrypt 128 MiB. */
const cost = { scrypt: { N: 1 << 17, r: 8, p: 1 }, pbkdf2: { iterations: 1_000_000 } };
/** The highest cost that a file may set: the memory and the time are this machine's. */
const costMax = { N: 1 << 20, r: 16, p: 4, iterations: 10_000_000 } as const;

/** A key file under a passphrase: the encrypted content, and everything that derives the key except the passphrase. */
type EncryptedFile = Head & { readonly ciphertext: string };

type Head = Derivation & { readonly salt: string; readonly nonce: string };

type Derivation =
  | {
      readonly format: typeof formats.scrypt;
      readonly scrypt: { readonly N: number; readonly r: number; readonly p: number };
    }
  | {
      readonly format: typeof formats.pbkdf2;
      readonly pbkdf2: { readonly iterations: number };
    };

/** Whether the content of a key file is encrypted. */
export function isEncrypted(content: unknown): content is EncryptedFile {
  if (typeof content !== "object" || content === null || !("format" in content)) return false;
  return Object.values<unknown>(formats).includes(content.format);
}

/** Whether this process can derive the file's key: OpenSSL's FIPS provider has no scrypt. */
export function canDerive({ format }: EncryptedFile): boolean {
  return format !== formats.scrypt || getFips() === 0;
}

/** Whether the file's key comes from the passphrase by PBKDF2, so that nodes in FIPS mode can read the file. */
export function isApproved({ format }: EncryptedFile): boolean {
  return format === formats.pbkdf2;
}

/** How the content is encrypted. */
export interface Encryption {
  /** The cost of a guess (scrypt's N); 131,072 by default. */
  readonly scryptN?: number | undefined;
  /** Derives the key by PBKDF2, so that nodes in FIPS mode can read the file; in FIPS mode it is always so. */
  readonly approved?: boolean | undefined;
}

/** Encrypts a key file's content: AES-256-GCM under a key from the passphrase. */
export async function encryptVersions(
  content: object,
  passphrase: string,
  ids: Ids,
  { scryptN, approved = getFips() === 1 }: Encryption = {},
): Promise<EncryptedFile> {
  const [salt, nonce] = [saltBytes, nonceBytes].map((length) =>
    Buffer.from(ids.randomBytes(length)),
  ) as [Buffer, Buffer];
  const texts = { salt: salt.toString("base64"), nonce: nonce.toString("base64") };
  const { N } = cost.scrypt;
  const head: Head = approved
    ? { format: formats.pbkdf2, pbkdf2: cost.pbkdf2, ...texts }
    : { format: formats.scrypt, scrypt: { ...cost.scrypt, N: scryptN ?? N }, ...texts };
  const key = await derive(passphrase, salt, head);
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
  if (!isSound(file)) return undefined;
  const [salt, nonce, sealed] = [file.salt, file.nonce, file.ciphertext].map((text) =>
    Buffer.from(text, "base64"),
  ) as [Buffer, Buffer, Buffer];
  if (nonce.length !== nonceBytes || sealed.length < tagBytes) return undefined;
  const key = await derive(passphrase, salt, file);
  const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  decipher.setAAD(bound(file));
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

function isSound(file: EncryptedFile): boolean {
  const { salt, nonce, ciphertext } = file;
  if (![salt, nonce, ciphertext].every((text) => typeof text === "string")) return false;
  const asked: unknown = file.format === formats.scrypt ? file.scrypt : file.pbkdf2;
  if (typeof asked !== "object" || asked === null) return false;
  const names =
    file.format === formats.scrypt ? (["N", "r", "p"] as const) : (["iterations"] as const);
  return names.every((name) => {
    const value: unknown = Object.getOwnPropertyDescriptor(asked, name)?.value;
    return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= costMax[name];
  });
}

/** What the ciphertext is bound to. */
function bound(head: Head): Buffer {
  const asked =
    head.format === formats.scrypt
      ? [head.scrypt.N, head.scrypt.r, head.scrypt.p]
      : [head.pbkdf2.iterations];
  return Buffer.from(JSON.stringify([head.format, ...asked, head.salt, head.nonce]));
}

function derive(passphrase: string, salt: Buffer, asked: Derivation): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, key: Buffer) => {
      if (error === null) resolve(key);
      else reject(error);
    };
    if (asked.format === formats.scrypt) {
      const maxmem = 256 * asked.scrypt.N * asked.scrypt.r;
      scrypt(passphrase, salt, keyBytes, { ...asked.scrypt, maxmem }, done);
    } else {
      pbkdf2(passphrase, salt, asked.pbkdf2.iterations, keyBytes, "sha256", done);
    }
  });
}
