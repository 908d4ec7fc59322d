import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import type { Answer } from "./call.ts";
import { nowMs, type World } from "./world.ts";

const grant = "urn:ibm:params:oauth:grant-type:apikey";

/** Issues a token for an API key: `POST /identity/token`, or the older `/oidc/token`. */
export function issueToken(world: World, form: URLSearchParams): Answer {
  if (form.get("grant_type") !== grant) {
    return refusal("BXNIM0102E", "Provided grant_type is not supported");
  }
  const found = world.apiKeys.find(({ key }) => key === form.get("apikey"));
  if (found === undefined) return refusal("BXNIM0415E", "Provided API key could not be found");
  const issuedMs = nowMs(world);
  const expiration = Math.floor(issuedMs / 1000) + world.settings.tokenSeconds;
  const claims = { sub: found.serviceId, iat: issuedMs, exp: expiration, jti: randomUUID() };
  const head = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return {
    status: 200,
    body: {
      access_token: `${head}.${sign(world, head)}`,
      refresh_token: "not_supported",
      token_type: "Bearer",
      expires_in: world.settings.tokenSeconds,
      expiration,
      scope: "ibm openid",
    },
  };
}

/** The owner of a token; undefined if it is invalid or expired. */
export function subjectOf(world: World, token: string, atMs: number): string | undefined {
  const [head = "", claims = "", signature = ""] = token.split(".");
  const [given, own] = [Buffer.from(signature), Buffer.from(sign(world, `${head}.${claims}`))];
  if (given.length !== own.length || !timingSafeEqual(given, own)) return undefined;
  const { sub, iat, exp } = JSON.parse(Buffer.from(claims, "base64url").toString("utf8")) as {
    sub: string;
    iat: number;
    exp: number;
  };
  return exp * 1000 > atMs && iat >= world.tokensFromMs ? sub : undefined;
}

/** An error of IAM, in its own form. */
export function iamError(errorCode: string, errorMessage: string) {
  const context = { requestId: randomUUID(), requestType: "incoming.Identity_Token" };
  return { errorCode, errorMessage, context };
}

function refusal(errorCode: string, errorMessage: string): Answer {
  return { status: 400, body: iamError(errorCode, errorMessage) };
}

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function sign({ tokenSecret }: World, text: string): string {
  return createHmac("sha256", tokenSecret).update(text).digest("base64url");
}
