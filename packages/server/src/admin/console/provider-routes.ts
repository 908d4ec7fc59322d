import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { TokenRefusal } from "../../management/tokens/bearer.ts";
import type { Authorizer } from "../access/authorizer.ts";
import { Refused } from "../problem.ts";
import {
  type Flow,
  type ProviderClient,
  providerAnswer,
  SignInFailed,
  type SignInFailure,
} from "./provider-client.ts";
import {
  admitToken,
  cookieAttributes,
  cookieName,
  sessionSeconds,
  tokenMax,
} from "./session-cookie.ts";

const flowCookie = "__Host-holdfast-sign-in";
/** `lax`: the browser sends it when it comes back from the provider's page. */
const flowAttributes = { ...cookieAttributes, sameSite: "lax" } as const;
/** How long a person may take at the provider's page. */
const flowSeconds = 600;
/** A place of the console: what its address has after the `#`. */
const placeForm = /^\/(?!sign-in\b)[\x21-\x7e]{0,500}$/;
const asStranger = { roles: "public", scope: "system" } as const;

/** The failure for each refusal of a token. */
const failures: Readonly<Record<TokenRefusal, SignInFailure>> = {
  missing: "noRole",
  unknown: "noRole",
  revoked: "noRole",
  expired: "expired",
  wrongType: "wrongType",
  longLived: "longLived",
  noSubject: "noSubject",
  unavailable: "providerDown",
  // A token of the provider is never taken for a session of the console or of a vCenter.
  sessionOver: "wrongType",
  sessionEnded: "wrongType",
  noSession: "wrongType",
  noVcenter: "wrongType",
  vcenterAway: "wrongType",
};

/**
 * Signs people in at the identity provider: `/console/sign-in` sends a browser there, with a cookie that only this sign-in
 * uses, and it comes back to `/console/signed-in`. Nothing of it stays in the address or in the history.
 * `/console/sign-out` leads to where the provider ends its own session.
 */
export function addProviderSignIn(
  app: FastifyInstance,
  authorizer: Authorizer,
  provider: ProviderClient,
  wallMs: () => number,
): void {
  app.get("/console/sign-in", async (request, reply) => {
    const place = placeOf((request.query as Readonly<Record<string, unknown>>)["place"]);
    try {
      await authorizer.admit("signIn", asStranger, request, 0);
      const { flow, address } = await provider.begin();
      return reply
        .setCookie(flowCookie, packed(flow, place), { ...flowAttributes, maxAge: flowSeconds })
        .redirect(address, 303);
    } catch (error) {
      return refuse(reply, error, place);
    }
  });

  app.get("/console/signed-in", async (request, reply) => {
    const began = unpacked(app.parseCookie(request.headers.cookie ?? "")[flowCookie]);
    // A flow is used once, also if it fails.
    reply.clearCookie(flowCookie, flowAttributes);
    const place = began?.place ?? "/";
    try {
      await authorizer.admit("signIn", asStranger, request, 0);
      const answer = providerAnswer.safeParse(request.query);
      if (began === undefined || !answer.success) throw new SignInFailed("otherFlow");
      const token = await provider.finish(began, answer.data);
      const maxAge = await secondsOf(token, request);
      return reply
        .setCookie(cookieName, token, { ...cookieAttributes, maxAge })
        .redirect(`/console/#${place}`, 303);
    } catch (error) {
      return refuse(reply, error, place);
    }
  });

  // Neither the place nor anything else comes from the request.
  app.get("/console/sign-out", async (request, reply) => {
    try {
      await authorizer.admit("signIn", asStranger, request, 0);
      return reply.redirect(await provider.signOutAddress(), 303);
    } catch (error) {
      return refuse(reply, error, "/");
    }
  });

  /** How long a session with this token lasts; throws if it gives none. */
  async function secondsOf(token: string, request: FastifyRequest): Promise<number> {
    if (token.length > tokenMax) throw new SignInFailed("tooLarge");
    const bearer = await provider.check(token);
    const failure = typeof bearer === "string" ? failures[bearer] : undefined;
    try {
      await admitToken(authorizer, request, token);
    } catch (error) {
      if (failure === undefined || failureOf(error) === "tooMany") throw error;
      throw new SignInFailed(failure);
    }
    // A provider must not hand out one of Holdfast's own tokens.
    if (typeof bearer === "string") throw new SignInFailed(failures[bearer]);
    const leftMs = (bearer.expiresMs ?? Number.POSITIVE_INFINITY) - wallMs();
    const seconds = Math.min(sessionSeconds, Math.floor(leftMs / 1000));
    if (seconds <= 0) throw new SignInFailed("expired");
    return seconds;
  }
}

/** Back to the sign-in page, which has a sentence for the failure. */
function refuse(reply: FastifyReply, error: unknown, place: string): FastifyReply {
  const failure = failureOf(error);
  if (failure === undefined) throw error;
  const query = new URLSearchParams({ failure, place });
  return reply.redirect(`/console/#/sign-in?${query}`, 303);
}

function failureOf(error: unknown): SignInFailure | undefined {
  if (error instanceof SignInFailed) return error.failure;
  return error instanceof Refused && error.problem.code === "tooMany" ? "tooMany" : undefined;
}

/** Where the person was. It follows `/console/#`, so that it can lead to no other site. */
function placeOf(given: unknown): string {
  return typeof given === "string" && placeForm.test(given) ? given : "/";
}

function packed({ state, verifier }: Flow, place: string): string {
  return [state, verifier, Buffer.from(place).toString("base64url")].join(".");
}

function unpacked(text: string | undefined): (Flow & { readonly place: string }) | undefined {
  const [, state, verifier, place] =
    /^([\w-]{43})\.([\w-]{43})\.([\w-]{1,800})$/.exec(text ?? "") ?? [];
  if (state === undefined || verifier === undefined || place === undefined) return undefined;
  return { state, verifier, place: placeOf(Buffer.from(place, "base64url").toString()) };
}
