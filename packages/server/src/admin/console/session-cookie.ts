import { contract } from "@holdfast/admin";
import type { FastifyRequest } from "fastify";
import type { Authorizer } from "../access/authorizer.ts";

/** `__Host-`: a browser takes it only over TLS, for this host alone, and for every path. */
export const cookieName = "__Host-holdfast";
export const cookieAttributes = {
  path: "/",
  secure: true,
  httpOnly: true,
  sameSite: "strict",
} as const;
/** How long a session lasts at most. */
export const sessionSeconds = 8 * 3600;

/** A browser keeps a cookie of at most 4,096 bytes, with its name and attributes. */
export const tokenMax = 3900;

/** The largest body of a request for a session. */
export const bodyMax = 16_384;

/** Checks a token like that of any request: a refusal is thrown, counted and audited. */
export async function admitToken(
  authorizer: Authorizer,
  request: FastifyRequest,
  token: string,
): Promise<void> {
  request.headers.authorization = `Bearer ${token}`;
  await authorizer.admit("whoAmI", contract.whoAmI, request, bodyMax);
}
