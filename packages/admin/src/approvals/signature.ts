import {
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";

/** A signature as its file has it: one line, with the signer's public key. */
export interface SignatureLine {
  /** The signer's Ed25519 public key (RFC 8032): 32 bytes, base64url. */
  readonly key: string;
  /** 64 bytes, base64url. */
  readonly signature: string;
  /** Why a break-glass key signed; it is signed too. */
  readonly reason?: string;
}

const lineForm =
  /^holdfast-signature-1 ([A-Za-z0-9_-]{43}) ([A-Za-z0-9_-]{86})(?: ([A-Za-z0-9%._~!*'()-]{1,1024}))?$/;
const keyForm = /^[A-Za-z0-9_-]{43}$/;
/** More lines than a policy has keys mean that something else was handed in. */
const linesMax = 64;
const reasonMax = 256;

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

/**
 * Whether a text is a public key. Under a key of small order one signature fits many texts, so it is none; nor is a
 * coordinate that is not reduced, since each key must have one name.
 */
export function isPublicKey(text: string): boolean {
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

/** What is signed to approve a text: the text itself; with a break-glass key, the reason too. */
function approvedText(text: string, reason: string | undefined): Buffer {
  return Buffer.from(reason === undefined ? text : `${text}reason ${encoded(reason)}\n`);
}

/**
 * What an approver signs to cancel a change of the policy that waits: never what approves it. A later change may have the
 * same text, as each reset of one version has: so the change's identifier is signed too.
 */
export function cancelText(policyDigest: string, change: string): string {
  return `holdfast-approval-cancel-1\npolicy ${policyDigest}\nchange ${change}\n`;
}

/** SHA-256 of a text, hex. */
export function digestOf(text: string): string {
  return hash("sha256", text);
}

/** The line of a new signature. */
export function signatureLine(text: string, key: KeyObject, reason?: string): string {
  const signature = sign(null, approvedText(text, reason), key).toString("base64url");
  const said = reason === undefined ? {} : { reason };
  return printSignature({ key: publicKeyText(key), signature, ...said });
}

/** A signature as its file has it. */
export function printSignature({ key, signature, reason }: SignatureLine): string {
  const said = reason === undefined ? "" : ` ${encoded(reason)}`;
  return `holdfast-signature-1 ${key} ${signature}${said}`;
}

/** Reads lines of signatures; a text says what is wrong. */
export function readSignatures(text: string): readonly SignatureLine[] | string {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  if (lines.length === 0) return "there is no signature";
  if (lines.length > linesMax) return `there are more than ${linesMax} signatures`;
  const found: SignatureLine[] = [];
  for (const [at, line] of lines.entries()) {
    const [, key, signature, said] = lineForm.exec(line.trim()) ?? [];
    if (key === undefined || signature === undefined || !isPublicKey(key)) {
      return `line ${at + 1} is not a signature that \`holdfast approval sign\` wrote`;
    }
    const reason = said === undefined ? undefined : decoded(said);
    if (said !== undefined && reason === undefined) return `line ${at + 1}: its reason is damaged`;
    found.push({ key, signature, ...(reason === undefined ? {} : { reason }) });
  }
  return found;
}

/** Whether a signature approves this text. */
export function signs(text: string, { key, signature, reason }: SignatureLine): boolean {
  try {
    const publicKey = createPublicKey({
      key: { kty: "OKP", crv: "Ed25519", x: key },
      format: "jwk",
    });
    return verify(null, approvedText(text, reason), publicKey, Buffer.from(signature, "base64url"));
  } catch {
    return false;
  }
}

/** Whether a reason can be given: one line of at most 256 characters. */
export function isReason(reason: string): boolean {
  return reason.length > 0 && reason.length <= reasonMax && /^[^\p{Cc}\p{Cs}]+$/u.test(reason);
}

/** Percent-encoded (RFC 3986): a value has no space and no line end. */
export function encoded(value: string): string {
  return encodeURIComponent(value.replace(/\p{Cs}/gu, "\ufffd"));
}

/** Undefined for a text that `encoded` does not write. */
export function decoded(text: string): string | undefined {
  try {
    const value = decodeURIComponent(text);
    return encoded(value) === text ? value : undefined;
  } catch {
    return undefined;
  }
}
