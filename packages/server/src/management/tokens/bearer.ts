import type { Role } from "@holdfast/admin";

/** The caller that a bearer token identifies. */
export interface Bearer {
  /** The token's identifier; for OIDC, issuer and subject. */
  readonly id: string;
  readonly name: string;
  readonly roles: readonly Role[];
  /** Identifiers of the instances that it reaches; undefined = all. */
  readonly instances: readonly string[] | undefined;
  readonly expiresMs: number | undefined;
  /** Operations that it may call, and no others; all that its roles allow unless given. */
  readonly only?: readonly string[];
  /** It was valid when a store could last be read, and none can now: its holder may read, and change nothing. */
  readonly stale?: true;
}

/** Why a token is refused. */
export type TokenRefusal =
  | "missing"
  | "unknown"
  | "expired"
  | "revoked"
  | "unavailable"
  /** A session of the console that is over. */
  | "sessionOver"
  /** A session of the console that was ended before its time. */
  | "sessionEnded"
  /** Signed by the identity provider, but for something else than access. */
  | "wrongType"
  /** Signed by the identity provider, but valid for too long. */
  | "longLived"
  /** Signed by the identity provider, but its subject is not a text. */
  | "noSubject"
  /** A session of a vCenter that is not configured here. */
  | "noVcenter"
  /** A session that its vCenter does not know. */
  | "noSession"
  /** A session whose vCenter cannot be asked. */
  | "vcenterAway";

/** Verifies Holdfast's own tokens. */
export interface TokenVerifier {
  /** Uses only what the node holds in memory; never a store. */
  verify(token: string): Bearer | TokenRefusal;
}

/** Identifies the caller by an Authorization header; `remote` is the address that it comes from. */
export type Authenticate = (
  header: string | undefined,
  remote: string,
) => Promise<Bearer | TokenRefusal>;

/** Verifies tokens of somebody else, such as those of an identity provider (OIDC). */
export interface ForeignTokens {
  verify(token: string, remote: string): Promise<Bearer | TokenRefusal>;
}

const scheme = /^Bearer ([A-Za-z0-9._~+/-]{16,8192}=*)$/i;
/** A JSON Web Token begins with a JSON object in base64url (RFC 7519). */
const jwt = /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/;
/** Begins a token that stands for a session of the vSphere Client; Holdfast's own begin with `hf_`. */
export const vcenterPrefix = "vsphere.";

/** A session of the vSphere Client as a token: `vsphere.GUID.TOKEN`, the token in base64url. */
export function vcenterToken(guid: string, token: string): string {
  const encoded = Buffer.from(token, "latin1").toString("base64url");
  return `${vcenterPrefix}${guid}.${encoded}`;
}

/**
 * Verifies tokens: a JSON Web Token by the identity provider, and a session of the vSphere Client by its vCenter, where
 * there is one; all others as Holdfast's own. An unknown one may have been made at another node a moment ago: `lookAgain`
 * reads the records again.
 */
export function authenticator(
  own: TokenVerifier,
  foreign?: ForeignTokens,
  lookAgain?: () => Promise<void>,
  vcenters?: ForeignTokens,
): Authenticate {
  return async (header, remote) => {
    if (header === undefined) return "missing";
    const token = scheme.exec(header)?.[1];
    if (token === undefined) return "unknown";
    if (foreign !== undefined && jwt.test(token)) return await foreign.verify(token, remote);
    if (vcenters !== undefined && token.startsWith(vcenterPrefix))
      return await vcenters.verify(token, remote);
    const found = own.verify(token);
    if (found !== "unknown" || lookAgain === undefined) return found;
    await lookAgain();
    return own.verify(token);
  };
}

/** Runs `work` at most once every `everyMs`: a client that guesses tokens must not keep the store busy. */
export function paced(
  work: () => Promise<void>,
  everyMs: number,
  monotonicMs: () => number,
): () => Promise<void> {
  let lastMs = Number.NEGATIVE_INFINITY;
  let running: Promise<void> = Promise.resolve();
  return () => {
    if (monotonicMs() - lastMs >= everyMs) {
      lastMs = monotonicMs();
      running = work().catch(() => undefined);
    }
    return running;
  };
}
