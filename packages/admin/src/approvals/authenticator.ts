import { createPublicKey, hash, type KeyObject, verify } from "node:crypto";
import { z } from "zod";
import { authenticatorParts, isAtRelyingParty, parsedJson } from "./text.ts";

/** A public key of an authenticator, and the relying party that it was made for. */
interface Authenticator {
  readonly relyingParty: string;
  readonly key: KeyObject;
}

/** The three parts of an assertion, each base64url; clients of today send far less. */
const assertionForm = /^[\w-]{50,400}\.[\w-]{64,2800}\.[\w-]{64,700}$/;

/** Whether a text has the form of an assertion; whether it signs anything is another matter. */
export function isAssertion(text: string): boolean {
  return assertionForm.test(text);
}

/** SubjectPublicKeyInfo of a P-256 key whose point is not compressed: 26 bytes before the point. */
const p256Bytes = 91;
const pointAt = 26;
const uncompressed = 4;

/**
 * Reads a key as a policy names it. Algorithms are those that browsers offer everywhere: ES256, and RS256 for Windows
 * Hello. Undefined for another one, and for a key in another encoding: each key must have one name.
 */
export function readAuthenticator(text: string): Authenticator | undefined {
  const parts = authenticatorParts(text);
  if (parts === undefined) return undefined;
  const bytes = Buffer.from(parts.key, "base64url");
  try {
    const key = createPublicKey({ key: bytes, format: "der", type: "spki" });
    const isSame = key.export({ format: "der", type: "spki" }).toString("base64url") === parts.key;
    return isSame && isTaken(key, bytes) ? { relyingParty: parts.relyingParty, key } : undefined;
  } catch {
    return undefined;
  }
}

function isTaken({ asymmetricKeyType, asymmetricKeyDetails = {} }: KeyObject, spki: Buffer) {
  const { namedCurve, modulusLength = 0, publicExponent } = asymmetricKeyDetails;
  if (asymmetricKeyType === "ec") {
    const isPlain = spki.length === p256Bytes && spki[pointAt] === uncompressed;
    return namedCurve === "prime256v1" && isPlain;
  }
  const isRsa = asymmetricKeyType === "rsa" && publicExponent === 65537n;
  return isRsa && modulusLength >= 2048 && modulusLength <= 4096;
}

/** Members of the client's data that count; a browser may add others. */
const clientData = z.object({
  type: z.literal("webauthn.get"),
  challenge: z.string(),
  origin: z.string(),
  crossOrigin: z.literal(false).optional(),
  topOrigin: z.never().optional(),
});

const flagsAt = 32;
const authenticatorBytesMin = 37;
/** User present, and user verified: by a PIN, a finger or a face. */
const userFlags = 0b101;

/**
 * Whether an assertion signs a text: the challenge is the text's SHA-256. Web Authentication Level 2, 7.2, without what
 * depends on a session: one text has one challenge, so an assertion may be handed in at any time. Counters are not
 * compared: no node keeps state of an approver's key.
 */
export function asserts(
  text: string,
  { relyingParty, key }: Authenticator,
  assertion: string,
): boolean {
  if (!isAssertion(assertion)) return false;
  const parts = assertion.split(".").map((part) => Buffer.from(part, "base64url"));
  if (parts.map((part) => part.toString("base64url")).join(".") !== assertion) return false;
  const [data, client, signature] = parts as [Buffer, Buffer, Buffer];
  if (data.length < authenticatorBytesMin) return false;
  if (!data.subarray(0, flagsAt).equals(hash("sha256", relyingParty, "buffer"))) return false;
  if (((data[flagsAt] ?? 0) & userFlags) !== userFlags) return false;
  if (!isAbout(client, relyingParty, hash("sha256", text, "base64url"))) return false;
  const signed = Buffer.concat([data, hash("sha256", client, "buffer")]);
  return verify("sha256", signed, key, signature);
}

function isAbout(client: Buffer, relyingParty: string, challenge: string): boolean {
  const said = clientData.safeParse(parsedJson(client.toString("utf8")));
  if (!said.success || said.data.challenge !== challenge) return false;
  const [, host] = /^https:\/\/([a-z0-9.-]+)(?::\d{1,5})?$/.exec(said.data.origin) ?? [];
  return host !== undefined && isAtRelyingParty(host, relyingParty);
}
