import { createHmac, hash, timingSafeEqual } from "node:crypto";
import { contract } from "@holdfast/admin";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Admitted, Asking, Authorizer } from "../access/authorizer.ts";
import { Refused } from "../problem.ts";
import type { ApiSettings } from "./context.ts";

/** What a wrapped token says. */
interface Claims {
  readonly iss: typeof issuer;
  readonly iat: number;
  readonly exp: number;
  /** The token itself. */
  readonly holdfast: string;
}

const issuer = "urn:holdfast:token";
const grant = "urn:ibm:params:oauth:grant-type:apikey";
const validSeconds = 3_600;
const formMax = 16_384;
const tokenForm = /^hf_[\w-]{16,128}$/;
const jwtForm = /^Bearer ([\w-]{1,256}\.[\w-]{1,4096}\.[\w-]{43})$/i;

/**
 * A token as a JWT, which IBM's clients expect: they read its times, and Terraform its account. It grants nothing that the
 * token does not: it contains it, is signed with it, and ends earlier.
 */
export function wrapToken(
  token: string,
  {
    name,
    account,
    nowMs,
  }: { readonly name: string; readonly account: string; readonly nowMs: number },
): { readonly jwt: string; readonly expiration: number } {
  const iat = Math.floor(nowMs / 1000);
  const expiration = iat + validSeconds;
  const claims = {
    iss: issuer,
    iat,
    exp: expiration,
    holdfast: token,
    id: name,
    iam_id: name,
    sub: name,
    account: { valid: true, bss: account },
    grant_type: grant,
    scope: "ibm openid",
  };
  const head = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return { jwt: `${head}.${sign(token, head)}`, expiration };
}

/** The token in an Authorization header with a wrapped one; undefined for any other header, and one that is over. */
export function unwrapToken(header: string | undefined, nowMs: number): string | undefined {
  const [, jwt = ""] = jwtForm.exec(header ?? "") ?? [];
  const [first, second = "", signature = ""] = jwt.split(".");
  const claims = claimsOf(second);
  if (claims === undefined || claims.exp * 1000 <= nowMs) return undefined;
  const own = Buffer.from(sign(claims.holdfast, `${first}.${second}`));
  const given = Buffer.from(signature);
  if (own.length !== given.length || !timingSafeEqual(own, given)) return undefined;
  return claims.holdfast;
}

/** Serves what IBM's clients ask of IAM and of the resource controller, so that they work without IBM. */
export function serveIam(
  app: FastifyInstance,
  authorizer: Authorizer,
  api: ApiSettings,
  done: (request: FastifyRequest, status: number) => void,
): void {
  app.register(async (iam) => {
    iam.removeAllContentTypeParsers();
    iam.addContentTypeParser("*", { parseAs: "string" }, (_request, text, done) => {
      done(null, new URLSearchParams(String(text)));
    });
    for (const url of ["/identity/token", "/oidc/token"]) {
      iam.post(url, { bodyLimit: formMax }, async (request, reply) => {
        const form = request.body instanceof URLSearchParams ? request.body : new URLSearchParams();
        const answer = await issue(authorizer, api, request, form);
        done(request, 200);
        return reply.send(answer);
      });
    }
  });
  app.get("/v2/resource_instances/:id", {
    onRequest: async (request) => {
      const headers = unwrapped(request, api.wallMs());
      const asking = { ...askingOf(request), headers };
      await authorizer.admit("listInstances", readers, asking, 0);
    },
    handler: async (request, reply) => {
      const { id } = request.params as { readonly id: string };
      // It is named by its identifier, or by a CRN that ends with it.
      const guid = /^(?:crn:[^:]*(?::[^:]*){5}:)?([\w-]+)(?:::)?$/.exec(id)?.[1];
      if (guid !== api.instanceId) {
        throw new Refused({
          code: "notFound",
          detail: "this node serves no such Key Protect instance",
        });
      }
      done(request, 200);
      return reply.send(resourceOf(api));
    },
  });
}

/** A request's headers with the token in place of the JWT around it. */
export function unwrapped({ headers }: Asking, nowMs: number): Asking["headers"] {
  const token = unwrapToken(headers.authorization, nowMs);
  return token === undefined ? headers : { ...headers, authorization: `Bearer ${token}` };
}

/** How these routes answer an error; undefined for another URL. */
export function iamRefusal(
  url: string,
  status: number,
  detail: string,
  requestId: string,
): { readonly status: number; readonly body: object } | undefined {
  if (url.startsWith("/identity/token") || url.startsWith("/oidc/token")) {
    const context = { requestId, requestType: "incoming.Identity_Token" };
    const isKey = status === 401;
    const errorCode = isKey ? "BXNIM0415E" : "BXNIM0102E";
    const errorMessage = isKey ? "Provided API key could not be found" : detail;
    return { status: isKey ? 400 : status, body: { errorCode, errorMessage, context } };
  }
  if (!url.startsWith("/v2/resource_instances/")) return undefined;
  return { status, body: { message: detail, status_code: status, transaction_id: requestId } };
}

const anybody = contract.whoAmI;
const readers = { roles: contract.listInstances.roles, scope: "instance" } as const;

async function issue(
  authorizer: Authorizer,
  { instanceId, wallMs }: ApiSettings,
  request: FastifyRequest,
  form: URLSearchParams,
) {
  if (form.get("grant_type") !== grant) {
    throw new Refused({ code: "invalid", detail: "Provided grant_type is not supported" });
  }
  const token = form.get("apikey") ?? "";
  // Not one of another issuer, whose JWT could be longer than headers may be.
  const authorization = tokenForm.test(token) ? `Bearer ${token}` : "Bearer -";
  const asking = { ...askingOf(request), headers: { authorization } };
  const admitted: Admitted = await authorizer.admit("whoAmI", anybody, asking, 0);
  const { name } = admitted.principal;
  const about = { name, account: accountOf(instanceId), nowMs: wallMs() };
  const { jwt, expiration } = wrapToken(token, about);
  return {
    access_token: jwt,
    refresh_token: "not_supported",
    token_type: "Bearer",
    expires_in: validSeconds,
    expiration,
    scope: "ibm openid",
  };
}

function resourceOf({ instanceId, url }: ApiSettings) {
  const crn = `crn:v1:bluemix:public:kms:local:a/${accountOf(instanceId)}:${instanceId}::`;
  return {
    id: crn,
    guid: instanceId,
    crn,
    name: "Holdfast",
    account_id: accountOf(instanceId),
    region_id: "local",
    type: "service_instance",
    state: "active",
    extensions: { endpoints: { public: url, private: url } },
  };
}

/** An account's identifier: 32 hexadecimal digits, as IBM's. */
function accountOf(instanceId: string): string {
  return hash("sha256", `account ${instanceId}`).slice(0, 32);
}

function askingOf({ id, ip, headers }: FastifyRequest): Asking {
  return { id, ip, headers, params: {}, query: {} };
}

function claimsOf(text: string): Claims | undefined {
  try {
    const { iss, exp, holdfast } = JSON.parse(
      Buffer.from(text, "base64url").toString("utf8"),
    ) as Partial<Claims>;
    const isOurs = iss === issuer && typeof exp === "number" && typeof holdfast === "string";
    return isOurs && tokenForm.test(holdfast) ? { iss, iat: 0, exp, holdfast } : undefined;
  } catch {
    return undefined;
  }
}

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function sign(token: string, text: string): string {
  const key = hash("sha256", `hf_wrapped ${token}`, "buffer");
  return createHmac("sha256", key).update(text).digest("base64url");
}
