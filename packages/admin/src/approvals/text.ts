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

/** A name of an approver, in files and messages. */
export const approverName = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

/** The value of a JSON text; undefined for any other text. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Control, bidirectional and invisible characters, and line ends. */
const misleading = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** A text on one line with escapes, as in JSON, for what could move the cursor, reorder the line, or not be seen. */
export function printable(text: string): string {
  return text.replace(misleading, (found) =>
    Array.from({ length: found.length }, (_, at) => {
      return `\\u${found.charCodeAt(at).toString(16).padStart(4, "0")}`;
    }).join(""),
  );
}

/** A JSON value on indented lines, with the same escapes: what an approver reads. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value, null, 2).split("\n").map(printable).join("\n");
}

const reasonMax = 256;

/** Whether a reason can be given: one line of at most 256 characters. */
export function isReason(reason: string): boolean {
  return reason.length > 0 && reason.length <= reasonMax && /^[^\p{Cc}\p{Cs}]+$/u.test(reason);
}

/** What is signed to approve a text: the text itself; with a break-glass key, the reason too. */
export function approvedText(text: string, reason: string | undefined): string {
  return reason === undefined ? text : `${text}reason ${encoded(reason)}\n`;
}

/**
 * What an approver signs to cancel a change of the policy that waits: never what approves it. A later change may have the
 * same text, as each reset of one version has: so the change's identifier is signed too.
 */
export function cancelText(policyDigest: string, change: string): string {
  return `holdfast-approval-cancel-1\npolicy ${policyDigest}\nchange ${change}\n`;
}

/** A signature as its file has it: one line, with the signer's public key. */
export interface SignatureLine {
  /** The signer's public key: 32 bytes of Ed25519 (RFC 8032), base64url, or that of an authenticator. */
  readonly key: string;
  /** 64 bytes, base64url; of an authenticator, the three parts of its assertion. */
  readonly signature: string;
  /** Why a break-glass key signed; it is signed too. */
  readonly reason?: string;
}

/** A signature as its file has it. */
export function printSignature({ key, signature, reason }: SignatureLine): string {
  const said = reason === undefined ? "" : ` ${encoded(reason)}`;
  return `holdfast-signature-1 ${key} ${signature}${said}`;
}

const authenticatorForm = /^webauthn:([a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,15}):([\w-]{50,800})$/;

/**
 * The parts of an authenticator's public key (Web Authentication Level 2): `webauthn:RP-ID:KEY`, with the identifier of
 * the relying party, a host name, and SubjectPublicKeyInfo (RFC 5280) as base64url. Undefined for any other text.
 */
export function authenticatorParts(
  text: string,
): { readonly relyingParty: string; readonly key: string } | undefined {
  const [, relyingParty, key] = authenticatorForm.exec(text) ?? [];
  return relyingParty === undefined || key === undefined ? undefined : { relyingParty, key };
}

/** The public key of an authenticator as policies name it. */
export function authenticatorKey(relyingParty: string, key: string): string {
  return `webauthn:${relyingParty}:${key}`;
}

/** Whether a page at this host name may ask for keys of this relying party: it is the host, or a domain above it. */
export function isAtRelyingParty(host: string, relyingParty: string): boolean {
  return host === relyingParty || host.endsWith(`.${relyingParty}`);
}
