import { connect } from "node:net";
import { text } from "node:stream/consumers";
import cookie from "@fastify/cookie";
import cors from "@fastify/cors";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { SocketPath } from "../../base/address.ts";
import { hashOf, isToken } from "../../management/tokens/token-text.ts";
import type { Authorizer } from "../access/authorizer.ts";
import type { VcenterSessions } from "../access/vcenter-sessions.ts";
import { Refused } from "../problem.ts";
import type { ConsoleFile } from "./console-files.ts";
import type { ConsoleSessions } from "./console-sessions.ts";
import { isOfPlugin, servePlugin } from "./plugin-routes.ts";
import type { ProviderClient } from "./provider-client.ts";
import { addProviderSignIn } from "./provider-routes.ts";
import {
  admitToken,
  bodyMax,
  cookieAttributes,
  cookieName,
  sessionSeconds,
  tokenMax,
} from "./session-cookie.ts";
import { sessionPrefix } from "./session-text.ts";
import { useLink } from "./sign-in-links.ts";

/** How the web console is served. */
export interface ConsoleOptions {
  readonly files: ReadonlyMap<string, ConsoleFile>;
  /** `https://HOST:PORT` of the nodes with which the console continues when this one does not answer. */
  readonly nodes: readonly string[];
  /** The domain of authenticators' keys, where it is not the host of the page. */
  readonly relyingParty: string | undefined;
  readonly signInFolder: string | undefined;
  readonly sessions: Pick<ConsoleSessions, "begin" | "open" | "end">;
  /** Absent if nobody signs in at an identity provider. */
  readonly provider?: ProviderClient | undefined;
  /** The socket of a development cluster that takes faults. */
  readonly controlSocket: string | undefined;
  /** The vCenters in whose vSphere Client the console shows itself, if any. */
  readonly vcenters?: VcenterSessions | undefined;
  readonly wallMs: () => number;
}

/** The console sends it with each request. A page of another site cannot, unless CORS allows it. */
const consoleHeader = "x-holdfast-console";

const signIn = z.union([
  z.object({ token: z.string().min(1).max(tokenMax) }).strict(),
  z.object({ code: z.string().min(16).max(256) }).strict(),
]);

/**
 * Serves the web console under `/console/`, and lets its requests carry a session in a cookie that no script can read. A
 * request with this cookie counts only with the console's own header.
 */
export function serveConsole(
  app: FastifyInstance,
  authorizer: Authorizer,
  options: ConsoleOptions,
): void {
  const { nodes } = options;
  app.register(cookie, { hook: false });
  if (nodes.length > 0) {
    app.register(cors, {
      origin: [...nodes],
      credentials: true,
      methods: ["GET", "POST", "PUT", "PATCH", "DELETE"],
      allowedHeaders: [
        ...["content-type", "if-match", "if-none-match", "idempotency-key", "last-event-id"],
        ...["approval", "dry-run", consoleHeader],
      ],
      exposedHeaders: ["date", "etag", "retry-after", "x-request-id"],
      maxAge: 600,
    });
  }
  if (options.vcenters !== undefined) servePlugin(app, authorizer, options.vcenters);
  app.addHook("onRequest", async (request) => {
    const { headers } = request;
    if (headers.authorization !== undefined || headers[consoleHeader] !== "1") return;
    const session = sessionOf(app, request);
    if (session !== undefined) headers.authorization = `Bearer ${session}`;
  });
  addFiles(app, options);
  addSession(app, authorizer, options);
  if (options.provider !== undefined) {
    addProviderSignIn(app, authorizer, options.provider, options.wallMs);
  }
  if (options.controlSocket !== undefined) addSwitches(app, authorizer, options.controlSocket);
}

/**
 * The session in the request's cookie, which may be over: see `ConsoleSessions`, or a token of the identity provider. One
 * of Holdfast's own tokens in a cookie does not count: nobody could end such a session.
 */
function sessionOf(app: FastifyInstance, { headers }: FastifyRequest): string | undefined {
  const session = app.parseCookie(headers.cookie ?? "")[cookieName];
  return session === undefined || isToken(session) ? undefined : session;
}

/** What a page may load and ask, and the pages that may frame it. */
function policyOf(asked: readonly string[], framedBy: readonly string[]): string {
  return [
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:",
    `connect-src ${["'self'", ...asked].join(" ")}`,
    `base-uri 'none'; form-action 'none'; frame-ancestors ${framedBy.join(" ") || "'none'"}`,
  ].join("; ");
}

function addFiles(
  app: FastifyInstance,
  { files, nodes, relyingParty, controlSocket, vcenters, provider }: ConsoleOptions,
): void {
  const ofConsole = policyOf(nodes, []);
  const ofPlugin = policyOf([], vcenters?.origins ?? []);
  const sendWith =
    (policy: string, file: ConsoleFile) => (request: FastifyRequest, reply: FastifyReply) => {
      reply.headers({
        "cache-control": "no-cache",
        "content-security-policy": policy,
        etag: file.etag,
        vary: "accept-encoding, origin",
      });
      if (request.headers["if-none-match"] === file.etag) return reply.code(304).send();
      const takesBrotli = /\bbr\b/.test(String(request.headers["accept-encoding"] ?? ""));
      reply.type(file.type);
      if (file.brotli === undefined || !takesBrotli) return reply.send(file.plain);
      return reply.header("content-encoding", "br").send(file.brotli);
    };
  for (const [name, file] of files) {
    if (!isOfPlugin(name)) app.get(`/console/${name}`, sendWith(ofConsole, file));
    else if (vcenters !== undefined) app.get(`/console/${name}`, sendWith(ofPlugin, file));
  }
  const index = files.get("index.html");
  if (index !== undefined) app.get("/console/", sendWith(ofConsole, index));
  app.get("/console", (_, reply) => reply.redirect("/console/", 308));
  app.get("/console/session", (request, reply) =>
    reply.send({
      nodes,
      signedIn: sessionOf(app, request) !== undefined,
      hasSwitches: controlSocket !== undefined,
      ...(relyingParty === undefined ? {} : { relyingParty }),
      // Where a person signs in at the identity provider: at the address that the provider knows.
      ...(provider && { signInAt: `${provider.origin}/console/sign-in` }),
      ...(provider?.endsSessions && { signOutAt: `${provider.origin}/console/sign-out` }),
    }),
  );
}

function addSession(app: FastifyInstance, authorizer: Authorizer, options: ConsoleOptions): void {
  const onRequest = async ({ headers }: FastifyRequest) => {
    if (headers[consoleHeader] === "1") return;
    throw new Refused({ code: "forbidden", detail: `${consoleHeader}: must be 1` });
  };
  app.post("/console/session", { onRequest, bodyLimit: bodyMax }, async (request, reply) => {
    const token = await tokenOf(authorizer, request, options);
    const { sessions } = options;
    const before = sessionOf(app, request) ?? "";
    const open = sessions.open(before);
    // Nodes at one host share a cookie: a session that it lost could not be ended any more.
    if (typeof open !== "string") {
      if (hashOf(open.token) === hashOf(token)) return reply.code(204).send();
      await sessions.end(before).catch(() => undefined);
    }
    const session = isToken(token) ? await sessions.begin(token) : token;
    return reply
      .setCookie(cookieName, session, { ...cookieAttributes, maxAge: sessionSeconds })
      .code(204)
      .send();
  });
  app.delete("/console/session", { onRequest }, async (request, reply) => {
    // Also if the session cannot be ended.
    reply.clearCookie(cookieName, cookieAttributes);
    await options.sessions.end(sessionOf(app, request) ?? "");
    return reply.code(204).send();
  });
}

/** The token that a request for a session brings, once it is admitted. */
async function tokenOf(
  authorizer: Authorizer,
  request: FastifyRequest,
  options: ConsoleOptions,
): Promise<string> {
  const given = signIn.safeParse(request.body);
  if (!given.success) {
    throw new Refused({
      code: "invalid",
      detail: `body: must be a token of at most ${tokenMax} characters, or a code`,
    });
  }
  const token =
    "token" in given.data ? given.data.token : await tokenOfLink(given.data.code, options);
  if (token?.startsWith(sessionPrefix)) {
    throw new Refused({ code: "invalid", detail: "body.token: is a session, not a token" });
  }
  // A code of no link counts like a token that nobody has.
  try {
    await admitToken(authorizer, request, token ?? "");
    return token ?? "";
  } catch (error) {
    if (token !== undefined || !isUnauthenticated(error)) throw error;
    const detail = "this link was used already, or is too old: sign in with a token";
    throw new Refused({ code: "unauthenticated", detail });
  }
}

async function tokenOfLink(
  code: string,
  { signInFolder, wallMs }: ConsoleOptions,
): Promise<string | undefined> {
  return signInFolder === undefined ? undefined : await useLink(signInFolder, code, wallMs());
}

function isUnauthenticated(error: unknown): boolean {
  return error instanceof Refused && error.problem.code === "unauthenticated";
}

const switches = z.union([
  z
    .object({
      fault: z.enum(["kill", "freeze", "thaw", "cut", "heal"]),
      parts: z.array(z.string().max(64)).max(32),
      stay: z.boolean(),
    })
    .strict(),
  z.object({ load: z.enum(["start", "stop", "report"]) }).strict(),
]);

/** Passes the switches of a development cluster on to it. */
function addSwitches(app: FastifyInstance, authorizer: Authorizer, socket: string): void {
  const route = { roles: ["manager"], scope: "system" } as const;
  const onRequest = async (request: FastifyRequest) => {
    await authorizer.admit("switches", route, request, bodyMax);
  };
  app.post("/console/switches", { onRequest, bodyLimit: bodyMax }, async (request, reply) => {
    const given = switches.safeParse(request.body);
    if (!given.success) {
      throw new Refused({
        code: "invalid",
        detail: "body: must be a fault, or what the load does",
      });
    }
    return reply.type("application/json").send(await askSocket(socket, JSON.stringify(given.data)));
  });
}

const switchMs = 30_000;

/** Sends a request to a Unix socket and answers what it answers. */
async function askSocket(path: string, request: string): Promise<string> {
  using address = new SocketPath(path);
  const connection = connect({ path: address.name, allowHalfOpen: true, timeout: switchMs });
  connection.once("timeout", () => connection.destroy(new Error("no answer")));
  try {
    connection.end(request);
    return await text(connection);
  } catch {
    throw new Refused({
      code: "peerUnreachable",
      detail: "the development cluster does not answer",
    });
  } finally {
    connection.destroy();
  }
}
