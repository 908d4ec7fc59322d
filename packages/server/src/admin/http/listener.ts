import type { Server } from "node:https";
import type { AddressInfo } from "node:net";
import { contract, type Handlers, problems, type Route } from "@holdfast/admin";
import fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type RouteOptions,
} from "fastify";
import { type Address, printAddress } from "../../base/address.ts";
import { listenError } from "../../base/listen-error.ts";
import { contextOptions, type ServerIdentity } from "../../base/tls.ts";
import {
  type Admitted,
  type Asking,
  type Authorizer,
  bodyBytes,
  tooMany,
} from "../access/authorizer.ts";
import { type ConsoleOptions, serveConsole } from "../console/console-routes.ts";
import { type DispatchParts, dispatch, prepare, type Served } from "../dispatch.ts";
import type { Caller } from "../key-protect-api/calls.ts";
import type { ApiSettings } from "../key-protect-api/context.ts";
import { iamRefusal, serveIam, unwrapped } from "../key-protect-api/iam.ts";
import { refusedAnswer } from "../key-protect-api/problems.ts";
import { aboutOf, isKeyProtectUrl, serveKeyProtectApi } from "../key-protect-api/routes.ts";
import { type Problem, problemDocument, problemOf, Refused } from "../problem.ts";
import { schemasOf } from "../validate.ts";
import { AdminConnections, endBadRequest } from "./connections.ts";
import { readIdentifiers } from "./identifier-reader.ts";
import { Shares } from "./shares.ts";
import { sendEvents } from "./stream.ts";

/** The parts and limits of the listener. */
export interface AdminListenerOptions extends DispatchParts {
  readonly listen: Address;
  readonly identity: ServerIdentity;
  readonly authorizer: Authorizer;
  readonly connectionsMax: number;
  /**
   * How long a handshake, a request's headers and a whole request may take, and how long a stream's
   * reader may take nothing.
   */
  readonly times?: Partial<typeof timesUsual>;
  /** Absent if this node has no web console. */
  readonly console?: ConsoleOptions | undefined;
  /** Absent if this node does not serve IBM's API. */
  readonly keyProtectApi?: ApiSettings | undefined;
  readonly requestId: () => string;
  readonly monotonicMs: () => number;
}

const bodyMaxUsual = 262_144;
const bodyMaxLarge = 1_048_576;
const headerBytesMax = 16_384;
const timesUsual = {
  handshakeMs: 10_000,
  headersMs: 10_000,
  requestMs: 30_000,
  stalledMs: 30_000,
};
/** How often the listener looks for slow requests. */
const lookMs = 500;
const idleMs = 15_000;
const graceMs = 5000;
/** The most requests under way; they mostly wait for the store, which orders them anyway. */
const runningMax = 64;
/** The most followers at the same time; each one reads the store. */
const streamsMax = 32;
/** The most requests with a body of many megabytes at the same time, from its first byte on. */
const largeMax = 2;

const securityHeaders = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "strict-transport-security": "max-age=31536000",
  "x-content-type-options": "nosniff",
} as const;

interface Running {
  admitted: Admitted;
  /** Admits it again, once its body is here; undefined for a request without one. */
  readonly again: (() => Promise<Admitted>) | undefined;
  readonly startedMs: number;
  /** Release the places that it holds. */
  readonly releases: (() => void)[];
}

/** A request that has its body and a place. */
interface Begun extends Caller {
  readonly running: Running;
  readonly ending: AbortController;
}

/** The admin API over HTTPS: every route comes from the contract, and all are served by the same few lines. */
export class AdminListener {
  readonly #options: AdminListenerOptions;
  readonly #times: typeof timesUsual;
  readonly #app: FastifyInstance<Server>;
  readonly #calls = new WeakMap<FastifyRequest, Running>();
  readonly #streams = new Set<AbortController>();
  readonly #connections: AdminConnections;
  readonly #running = new Shares(runningMax);
  readonly #following = new Shares(streamsMax);
  readonly #large = new Shares(largeMax);

  private constructor(options: AdminListenerOptions) {
    this.#options = options;
    this.#times = { ...timesUsual, ...options.times };
    const { handshakeMs, headersMs, requestMs } = this.#times;
    this.#app = fastify({
      https: {
        ...tlsOf(options.identity),
        handshakeTimeout: handshakeMs,
        headersTimeout: headersMs,
        maxHeaderSize: headerBytesMax,
        connectionsCheckingInterval: lookMs,
      },
      bodyLimit: bodyMaxUsual,
      requestTimeout: requestMs,
      keepAliveTimeout: idleMs,
      forceCloseConnections: "idle",
      onProtoPoisoning: "error",
      onConstructorPoisoning: "error",
      exposeHeadRoutes: false,
      trustProxy: false,
      requestIdHeader: false,
      genReqId: options.requestId,
      routerOptions: { maxParamLength: 512 },
      frameworkErrors: (error, request, reply) => {
        this.#refuse(error, request as FastifyRequest, reply as FastifyReply);
      },
      clientErrorHandler: endBadRequest,
    }) as unknown as FastifyInstance<Server>;
    this.#connections = new AdminConnections(this.#app.server, options);
    this.#app.removeContentTypeParser("text/plain");
    this.#app.setErrorHandler((error, request, reply) => this.#refuse(error, request, reply));
    this.#app.setNotFoundHandler((request, reply) =>
      this.#refuse(new Refused({ code: "notFound", detail: "path not found" }), request, reply),
    );
    this.#app.addHook("onRequest", async (request, reply) => {
      reply.headers({ ...securityHeaders, "x-request-id": request.id });
    });
    // Before the caller has the answer, so that this request cannot make its next one be refused.
    this.#app.addHook("onSend", async (request) => release(this.#calls.get(request)));
    this.#register();
    if (options.keyProtectApi !== undefined) this.#serveKeyProtect(options.keyProtectApi);
    if (options.console !== undefined) {
      serveConsole(this.#app as unknown as FastifyInstance, options.authorizer, options.console);
    }
  }

  /** Opens the listener. */
  static async open(options: AdminListenerOptions): Promise<AdminListener> {
    const listener = new AdminListener(options);
    const { host, port } = options.listen;
    try {
      await listener.#app.listen({ host, port });
    } catch (error) {
      throw listenError("admin.listen", printAddress(options.listen), error);
    }
    return listener;
  }

  get address(): string {
    const { port } = this.#app.server.address() as AddressInfo;
    return printAddress({ host: this.#options.listen.host, port });
  }

  /** Shows this certificate to new connections. */
  setIdentity(identity: ServerIdentity): void {
    this.#app.server.setSecureContext(tlsOf(identity));
  }

  /** Ends streams, waits up to `graceMs` for requests under way, then closes all connections. */
  async close(): Promise<void> {
    for (const stream of this.#streams) stream.abort();
    const cut = setTimeout(() => this.#app.server.closeAllConnections(), graceMs);
    this.#connections.close();
    await this.#app.close();
    clearTimeout(cut);
  }

  #register(): void {
    const methods = new Map<string, string[]>();
    for (const [name, route] of Object.entries(contract) as [keyof Handlers, Route][]) {
      const url = route.path.replaceAll(/\{(\w+)\}/g, ":$1");
      methods.set(url, [...(methods.get(url) ?? []), route.method]);
      const served: Served = { operation: name, route, schemas: schemasOf(route) };
      const bodyLimit = route.bodyMax ?? bodyMaxUsual;
      const options: RouteOptions<Server> = {
        method: route.method,
        url,
        bodyLimit,
        onRequest: (request, reply) => this.#admit(served, request, reply, bodyLimit),
        handler: (request, reply) => this.#serve(served, request, reply),
        config: { operation: name },
      };
      if (route.bodyMax === undefined) this.#app.route(options);
      else
        this.#app.register(async (part) => {
          readIdentifiersIn(part, bodyLimit);
          part.route(options as unknown as RouteOptions);
        });
    }
    const all = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    for (const [url, served] of methods) {
      const method = all.filter((one) => !served.includes(one));
      const allow = served.join(", ");
      const problem: Problem = {
        code: "methodNotAllowed",
        detail: `this path takes ${allow}`,
        headers: { allow },
      };
      // Answered before a body is read.
      this.#app.route({
        method,
        url,
        onRequest: async (request, reply) => this.#answerProblem(request, reply, problem),
        handler: async () => undefined,
      });
    }
  }

  /** Routes of another form than the contract's, which call its operations. */
  #serveKeyProtect(api: ApiSettings): void {
    const { authorizer } = this.#options;
    const app = this.#app as unknown as FastifyInstance;
    const done = (request: FastifyRequest, status: number) => this.#report(request, status);
    serveKeyProtectApi(app, api, this.#options, {
      admit: async (operation, request, reply, params) => {
        const { id, ip } = request;
        const asking = { id, ip, params, query: {}, headers: unwrapped(request, api.wallMs()) };
        const { bodyLimit = bodyMaxUsual } = request.routeOptions;
        await this.#admit(
          { operation, route: contract[operation] },
          request,
          reply,
          bodyLimit,
          asking,
        );
      },
      begin: (request, reply) => this.#begin(request, reply, this.#running),
      done,
    });
    serveIam(app, authorizer, api, done);
  }

  async #admit(
    served: Pick<Served, "operation" | "route">,
    request: FastifyRequest,
    reply: FastifyReply,
    bodyLimit: number,
    asking: Asking = request,
  ): Promise<void> {
    const { authorizer, monotonicMs } = this.#options;
    const startedMs = monotonicMs();
    const admitted = await authorizer.admit(served.operation, served.route, asking, bodyLimit);
    // What ends with a connection that is closed already would never end.
    if (request.raw.socket.destroyed || reply.raw.destroyed)
      throw new Refused({ code: "invalid", detail: "the connection is closed" });
    const { route } = served;
    const bytes = bodyBytes(request, bodyLimit);
    const again = bytes > 0 ? () => authorizer.admitAgain(route, asking, admitted) : undefined;
    const running: Running = { admitted, again, startedMs, releases: [] };
    this.#calls.set(request, running);
    reply.raw.once("close", () => release(running));
    const isPublic = route.roles === "public";
    if (!isPublic && !this.#connections.admit(request.raw.socket, admitted.owner, reply.raw)) {
      throw tooMany(1, "too many busy connections for this instance or token");
    }
    // A small body, however slowly it arrives, keeps nobody's large one out.
    if (bodyLimit > bodyMaxLarge && bytes > bodyMaxUsual) {
      hold(running, this.#large, "other large requests are under way");
    }
  }

  /** Takes a place for an admitted request, and admits it again if it had to wait for its body. */
  async #begin(request: FastifyRequest, reply: FastifyReply, shares: Shares): Promise<Begun> {
    const running = this.#calls.get(request);
    if (running === undefined) throw new TypeError("the request was not admitted");
    const ending = new AbortController();
    reply.raw.once("close", () => ending.abort());
    // Only once the body is here, so that a body that arrives slowly does not hold a place.
    hold(running, shares, "too many requests under way for this instance or token");
    if (running.again !== undefined) running.admitted = await running.again();
    return { request, running, ending, admitted: running.admitted, signal: ending.signal };
  }

  async #serve(served: Served, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const isStream = served.route.stream === true;
    const begun = await this.#begin(request, reply, isStream ? this.#following : this.#running);
    const { running, ending } = begun;
    const prepared = prepare(this.#options, served, request, running.admitted, ending.signal);
    if (isStream) return this.#stream(served, prepared, running, request, reply, ending);
    const answer = await dispatch(this.#options, served, prepared, request, reply);
    this.#report(request, reply.statusCode);
    return answer;
  }

  async #stream(
    { operation, route, schemas }: Served,
    { call }: ReturnType<typeof prepare>,
    running: Running,
    request: FastifyRequest,
    reply: FastifyReply,
    ending: AbortController,
  ): Promise<unknown> {
    this.#streams.add(ending);
    try {
      const { authorizer, handlers } = this.#options;
      const handler = handlers[operation] as unknown as (given: unknown) => AsyncIterable<unknown>;
      const events = handler(call);
      const header = request.headers.authorization;
      reply.hijack();
      this.#report(request, 200);
      await sendEvents({
        response: reply.raw,
        headers: reply.getHeaders() as Readonly<Record<string, string>>,
        events,
        answer: schemas.answer,
        ending,
        stalledMs: this.#times.stalledMs,
        stillAdmitted: () => authorizer.stillAdmitted(route, header, running.admitted.principal),
      });
    } finally {
      this.#streams.delete(ending);
      release(running);
    }
    return reply;
  }

  #refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const { id, url } = request;
    if (this.#options.keyProtectApi === undefined) {
      return this.#answerProblem(request, reply, problemOf(error, id));
    }
    if (isKeyProtectUrl(url)) {
      const refused = refusedAnswer(error, aboutOf(request), id);
      return this.#answerRefused(request, reply, { ...refused, type: "application/json" });
    }
    const problem = problemOf(error, id);
    const { status } = problems[problem.code];
    const refused = iamRefusal(url, status, problem.detail, id);
    if (refused === undefined) return this.#answerProblem(request, reply, problem);
    const { headers = {}, cause } = problem;
    const answer = { ...refused, headers, cause, type: "application/json" };
    return this.#answerRefused(request, reply, answer);
  }

  #answerProblem(request: FastifyRequest, reply: FastifyReply, problem: Problem): FastifyReply {
    const body = problemDocument(problem, request.id);
    const { headers = {}, cause } = problem;
    const answer = { status: body["status"] as number, body, headers, cause };
    return this.#answerRefused(request, reply, { ...answer, type: "application/problem+json" });
  }

  #answerRefused(request: FastifyRequest, reply: FastifyReply, refused: RefusedAs): FastifyReply {
    const { status, type, headers, body, cause } = refused;
    this.#report(request, status, cause);
    // The rest of an unread body must neither be waited for nor be read as the next request.
    if (!request.raw.complete) reply.header("connection", "close");
    return reply
      .code(status)
      .headers({ ...securityHeaders, ...headers, "x-request-id": request.id })
      .header("content-type", `${type}; charset=utf-8`)
      .send(JSON.stringify(body));
  }

  #report(request: FastifyRequest, status: number, cause?: unknown): void {
    const { observe, monotonicMs } = this.#options;
    const running = this.#calls.get(request);
    const { operation } = request.routeOptions.config as { readonly operation?: string };
    const nowMs = monotonicMs();
    observe({
      type: "adminRequest",
      operation: operation ?? "",
      method: request.method,
      status,
      durationMs: nowMs - (running?.startedMs ?? nowMs),
      principal: running?.admitted.principal.name ?? "",
      instance: running?.admitted.instance ?? "",
      remote: request.ip,
      requestId: request.id,
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

/** A refusal as it is sent, and its media type. */
interface RefusedAs {
  readonly status: number;
  readonly type: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object;
  readonly cause?: unknown;
}

/** Takes one of the places that owners share, until the request is answered. */
function hold({ admitted, releases }: Running, shares: Shares, why: string): void {
  const give = shares.take(admitted.owner);
  if (give === undefined) throw tooMany(1, why);
  releases.push(give);
}

function release(running: Running | undefined): void {
  for (const give of running?.releases.splice(0) ?? []) give();
}

/** Routes of this part of the application get their body as `Identifiers`. */
function readIdentifiersIn(
  app: Pick<FastifyInstance, "addContentTypeParser" | "removeAllContentTypeParsers">,
  bytesMax: number,
): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    "application/json",
    async (_request: unknown, body: AsyncIterable<Buffer>) => ({
      inUse: await readIdentifiers(body, bytesMax),
    }),
  );
}

function tlsOf(identity: ServerIdentity) {
  return { ...contextOptions(identity, "default"), sessionIdContext: "holdfast-admin" };
}
