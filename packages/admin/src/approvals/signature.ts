import {
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { asserts, isAssertion, readAuthenticator } from "./authenticator.ts";
import { approvedText, decoded, printSignature, type SignatureLine } from "./text.ts";

const lineForm =
  /^holdfast-signature-1 (\S{43,1024}) (\S{86,4096})(?: ([A-Za-z0-9%._~!*'()-]{1,1024}))?$/;
const keyForm = /^[A-Za-z0-9_-]{43}$/;
const signatureForm = /^[A-Za-z0-9_-]{86}$/;
/** More lines than a policy has keys mean that something else was handed in. */
const linesMax = 64;

/** The public key of a pair as policies name it: 32 bytes, base64url. */
export function publicKeyText(key: KeyObject): string {
  return String((key.type === "private" ? createPublicKey(key) : key).export({ format: "jwk" }).x);
}

const prime = 2n ** 255n - 19n;
/** The y coordinates of the eight points of small order. */
const smallOrder: ReadonlySet<bigint> = new Set([
  0n,
  1n,
  prime - 1n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
]);

/** Whether a text is a public key: of Ed25519, or of an authenticator. */
export function isPublicKey(text: string): boolean {
  return isEd25519(text) || readAuthenticator(text) !== undefined;
}

/**
 * Whether a text is a public key of Ed25519. Under a key of small order one signature fits many texts, so it is none; nor
 * is a coordinate that is not reduced, since each key must have one name.
 */
function isEd25519(text: string): boolean {
  const bytes = Buffer.from(text, "base64url");
  if (!keyForm.test(text) || bytes.toString("base64url") !== text) return false;
  const y = BigInt(`0x${bytes.reverse().toString("hex")}`) & (2n ** 255n - 1n);
  return y < prime && !smallOrder.has(y);
}

/** A new key pair; the private key is PKCS #8 in PEM, encrypted if a passphrase is given. */
export function newApproverKey(passphrase: string | undefined): {
  readonly pem: string;
  readonly publicKey: string;
} {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const form = { type: "pkcs8", format: "pem" } as const;
  const pem = privateKey.export(
    passphrase === undefined ? form : { ...form, cipher: "aes-256-cbc", passphrase },
  );
  return { pem: String(pem), publicKey: publicKeyText(publicKey) };
}

/** SHA-256 of a text, hex. */
export function digestOf(text: string): string {
  return hash("sha256", text);
}

/** The line of a new signature. */
export function signatureLine(text: string, key: KeyObject, reason?: string): string {
  const signature = sign(null, Buffer.from(approvedText(text, reason)), key).toString("base64url");
  const said = reason === undefined ? {} : { reason };
  return printSignature({ key: publicKeyText(key), signature, ...said });
}

/** Reads lines of signatures; a text says what is wrong. */
export function readSignatures(text: string): readonly SignatureLine[] | string {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  if (lines.length === 0) return "there is no signature";
  if (lines.length > linesMax) return `there are more than ${linesMax} signatures`;
  const found: SignatureLine[] = [];
  for (const [at, line] of lines.entries()) {
    const [, key, signature, said] = lineForm.exec(line.trim()) ?? [];
    if (key === undefined || signature === undefined || !isSigned(key, signature)) {
      return `line ${at + 1} is not a signature that \`holdfast approval sign\` or the web console wrote`;
    }
    const reason = said === undefined ? undefined : decoded(said);
    if (said !== undefined && reason === undefined) return `line ${at + 1}: its reason is damaged`;
    found.push({ key, signature, ...(reason === undefined ? {} : { reason }) });
  }
  return found;
}

/** Whether a key and a signature have forms that belong together. */
function isSigned(key: string, signature: string): boolean {
  if (isEd25519(key)) return signatureForm.test(signature);
  return readAuthenticator(key) !== undefined && isAssertion(signature);
}

/** Whether a signature approves this text. */
export function signs(text: string, { key, signature, reason }: SignatureLine): boolean {
  const approved = approvedText(text, reason);
  try {
    const authenticator = readAuthenticator(key);
    if (authenticator !== undefined) return asserts(approved, authenticator, signature);
    const publicKey = createPublicKey({
      key: { kty: "OKP", crv: "Ed25519", x: key },
      format: "jwk",
    });
    return verify(null, Buffer.from(approved), publicKey, Buffer.from(signature, "base64url"));
  } catch {
    return false;
  }
}
