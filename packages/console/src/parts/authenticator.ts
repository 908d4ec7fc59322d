import {
  approvedText,
  authenticatorKey,
  authenticatorParts,
  isAtRelyingParty,
  printSignature,
} from "@holdfast/admin/approval-text";
import { relyingParty } from "../base/api.ts";

/** ES256, and RS256 for Windows Hello: COSE algorithms of Web Authentication. */
const algorithms = [-7, -257] as const;

/** Why a browser cannot use an authenticator here; undefined if it can. */
export function unusable(): string | undefined {
  if (/^[\d.]+$|^\[/.test(location.hostname)) {
    return "Browsers use authenticators only for names: open the console by the name of a node, not by its IP address.";
  }
  if (!("PublicKeyCredential" in window)) return "This browser knows no authenticators.";
  return isAtRelyingParty(location.hostname, party())
    ? undefined
    : `Authenticators are for ${party()}, and this page is at ${location.hostname}: correct the setting admin.console.relyingParty.`;
}

function party(): string {
  return relyingParty.value ?? location.hostname;
}

/** Whether a key of a policy is an authenticator's that a page of this host may ask for. */
export function isUsable(key: string): boolean {
  const parts = authenticatorParts(key);
  return parts !== undefined && isAtRelyingParty(location.hostname, parts.relyingParty);
}

/** Makes a key in an authenticator; returns `NAME=KEY`, which is public. */
export async function createKey(name: string): Promise<string> {
  const made = await asked(
    navigator.credentials.create({
      publicKey: {
        rp: { id: party(), name: "Holdfast" },
        user: { id: crypto.getRandomValues(new Uint8Array(16)), name, displayName: name },
        challenge: crypto.getRandomValues(new Uint8Array(32)),
        pubKeyCredParams: algorithms.map((alg) => ({ type: "public-key", alg })),
        // The authenticator itself finds the key again, and asks for a PIN, a finger or a face.
        authenticatorSelection: {
          residentKey: "required",
          requireResidentKey: true,
          userVerification: "required",
        },
        attestation: "none",
      },
    }),
  );
  const key = (made.response as AuthenticatorAttestationResponse).getPublicKey();
  if (key === null) throw new Error("The browser cannot read this key: use another authenticator.");
  return `${name}=${authenticatorKey(party(), base64url(key))}`;
}

/** Signs a text with the authenticator's key that a policy names; returns the line of the signature. */
export async function signText(
  text: string,
  key: string,
  reason: string | undefined,
): Promise<string> {
  const bytes = new TextEncoder().encode(approvedText(text, reason));
  const made = await asked(
    navigator.credentials.get({
      publicKey: {
        challenge: await crypto.subtle.digest("SHA-256", bytes),
        rpId: authenticatorParts(key)?.relyingParty ?? "",
        userVerification: "required",
      },
    }),
  );
  const { authenticatorData, clientDataJSON, signature } =
    made.response as AuthenticatorAssertionResponse;
  const parts = [authenticatorData, clientDataJSON, signature].map(base64url);
  return printSignature({
    key,
    signature: parts.join("."),
    ...(reason === undefined ? {} : { reason }),
  });
}

/** SHA-256 of a text, hex. */
export async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What the authenticator made; a browser gives all refusals one name. */
async function asked(asking: Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const made = await asking;
    if (made instanceof PublicKeyCredential) return made;
  } catch (error) {
    if (!(error instanceof DOMException) || error.name !== "NotAllowedError") throw error;
  }
  throw new Error(
    "The authenticator did not answer: it has no key for this site, nobody touched it in time, or the request was cancelled. Try again.",
  );
}

function base64url(bytes: ArrayBuffer): string {
  const binary = String.fromCharCode(...new Uint8Array(bytes));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
