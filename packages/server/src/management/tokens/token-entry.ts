import { hash } from "node:crypto";
import { roles } from "@holdfast/admin";
import { type Document, systemTypes } from "@holdfast/engine";
import { z } from "zod";

const timeText = z
  .string()
  .regex(/^\d{1,15}$/)
  .transform(Number);

const fixedPart = z.object({
  /** SHA-256 of the token, lower-case hex: of 256 random bits, which nobody finds by trying. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  role: z.enum(roles),
  /** Identifiers, as JSON; left out = all. */
  instances: z
    .string()
    .transform((text, context) => {
      try {
        return z.array(z.string()).parse(JSON.parse(text));
      } catch {
        context.addIssue("no list of instances");
        return z.NEVER;
      }
    })
    .optional(),
  createdMs: timeText,
  createdBy: z.string(),
  expiresMs: timeText,
  /** `bootstrap`: made with a one-time file. */
  origin: z.enum(["api", "bootstrap"]),
});

/** A token as its system record holds it: never its secret. */
export type TokenEntry = z.output<typeof fixedPart> & {
  readonly id: string;
  readonly name: string;
  readonly revoked: boolean;
};

/** What a record of type Token says; undefined where it is none, or not as it should be. */
export function readTokenEntry(document: Document): TokenEntry | undefined {
  const { type, id, fixed, fields, destroyed } = document;
  if (type !== systemTypes.Token) return undefined;
  const read = fixedPart.safeParse(fixed);
  if (!read.success) return undefined;
  return { ...read.data, id, name: fields["name"] ?? "", revoked: destroyed !== undefined };
}

/** What is kept of a token. */
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
