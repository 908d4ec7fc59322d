import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type { Approver } from "@holdfast/admin";

/** What a test's authenticator says in place of what a good one does. */
interface AssertionOptions {
  readonly relyingParty?: string;
  /** Bit 0: the user was present; bit 2: the user was verified. */
  readonly flags?: number;
  /** Replaces members of the client's data; `undefined` leaves one out. */
  readonly client?: Readonly<Record<string, unknown>>;
  readonly reason?: string;
}

/** An authenticator as browsers know it (Web Authentication Level 2), in software. */
export interface TestAuthenticator extends Approver {
  /** The line of a signature of a text. */
  readonly sign: (text: string, options?: AssertionOptions) => string;
}

const makers = {
  ec: () => generateKeyPairSync("ec", { namedCurve: "P-256" }),
  rsa: () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
} as const;

/** The key of an authenticator as policies name it. */
export function keyText(relyingParty: string, key: KeyObject): string {
  const spki = key.export({ format: "der", type: "spki" }).toString("base64url");
  return `webauthn:${relyingParty}:${spki}`;
}

/** A new authenticator with a key of ES256, or of RS256 as Windows Hello has. */
export function newAuthenticator(
  name: string,
  relyingParty = "kms.example",
  kind: keyof typeof makers = "ec",
): TestAuthenticator {
  const { publicKey, privateKey } = makers[kind]();
  const key = keyText(relyingParty, publicKey);
  const signText: TestAuthenticator["sign"] = (text, { reason, ...options } = {}) => {
    const said = reason === undefined ? "" : `reason ${encodeURIComponent(reason)}\n`;
    const assertion = assertionOf(`${text}${said}`, privateKey, { relyingParty, ...options });
    const suffix = reason === undefined ? "" : ` ${encodeURIComponent(reason)}`;
    return `holdfast-signature-1 ${key} ${assertion}${suffix}`;
  };
  return { name, key, sign: signText };
}

function assertionOf(
  text: string,
  key: KeyObject,
  { relyingParty = "", flags = 0b101, client = {} }: AssertionOptions,
): string {
  const clientData = Buffer.from(
    JSON.stringify({
      type: "webauthn.get",
      challenge: digest(text).toString("base64url"),
      origin: `https://${relyingParty}:8443`,
      crossOrigin: false,
      ...client,
    }),
  );
  const data = Buffer.concat([digest(relyingParty), Buffer.of(flags, 0, 0, 0, 0)]);
  const signature = sign("sha256", Buffer.concat([data, digest(clientData)]), key);
  return [data, clientData, signature].map((part) => part.toString("base64url")).join(".");
}

function digest(of: string | Buffer): Buffer {
  return createHash("sha256").update(of).digest();
}
