import { hash } from "node:crypto";
import type { Contract, Method } from "@holdfast/admin";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { DispatchParts } from "../dispatch.ts";
import { Shares } from "../http/shares.ts";
import { Refused } from "../problem.ts";
import { createAdapter, deleteAdapter, listAdapters, readAdapterRoute } from "./adapters.ts";
import { type Caller, Calls } from "./calls.ts";
import {
  createCertificate,
  deleteCertificate,
  listCertificates,
  readCertificateRoute,
} from "./certificates.ts";
import { type ApiSettings, aboutAdapter, type Context, isUuid } from "./context.ts";
import { type IbmAnswer, printed } from "./envelope.ts";
import { deleteObject, listObjects, readObject } from "./objects.ts";
import type { About } from "./problems.ts";
import { badBody, unauthorized } from "./refusals.ts";

/** One route. */
interface IbmRoute {
  readonly method: Method;
  /** Below `/api/v2/kmip_adapters`. */
  readonly path: string;
  /** The operation of the management API whose roles, audit event and metric it has. */
  readonly operation: keyof Contract;
  readonly about: About;
  readonly serve: (context: Context) => Promise<IbmAnswer>;
}

const adapter = (what: string): About => ({ of: "adapter", what: `KMIP adapter${what}` });
const certificate = (what: string): About => ({
  of: "certificate",
  what: `KMIP client certificate${what}`,
});
const object = (what: string): About => ({ of: "object", what: `KMIP object${what}` });

const certificates = "/:adapter/certificates";
const objects = "/:adapter/kmip_objects";

/** All routes of IBM's API that are served. */
export const keyProtectRoutes: readonly IbmRoute[] = [
  {
    method: "GET",
    path: "",
    operation: "listInstances",
    about: adapter("s could not be listed"),
    serve: listAdapters,
  },
  {
    method: "POST",
    path: "",
    operation: "createInstance",
    about: adapter(" could not be created"),
    serve: createAdapter,
  },
  {
    method: "GET",
    path: "/:adapter",
    operation: "readInstance",
    about: adapter(" could not be retrieved"),
    serve: readAdapterRoute,
  },
  {
    method: "DELETE",
    path: "/:adapter",
    operation: "deleteInstance",
    about: adapter(" could not be deleted"),
    serve: deleteAdapter,
  },
  {
    method: "GET",
    path: certificates,
    operation: "listCertificates",
    about: certificate("s could not be listed"),
    serve: listCertificates,
  },
  {
    method: "POST",
    path: certificates,
    operation: "addCertificate",
    about: certificate(" could not be created"),
    serve: createCertificate,
  },
  {
    method: "GET",
    path: `${certificates}/:certificate`,
    operation: "readCertificate",
    about: certificate(" could not be retrieved"),
    serve: readCertificateRoute,
  },
  {
    method: "DELETE",
    path: `${certificates}/:certificate`,
    operation: "deleteCertificate",
    about: certificate(" could not be deleted"),
    serve: deleteCertificate,
  },
  {
    method: "GET",
    path: objects,
    operation: "listKeys",
    about: object("s could not be listed"),
    serve: listObjects,
  },
  {
    method: "GET",
    path: `${objects}/:object`,
    operation: "readKey",
    about: object(" could not be retrieved"),
    serve: readObject,
  },
  {
    method: "DELETE",
    path: `${objects}/:object`,
    operation: "destroyKey",
    about: object(" could not be deleted"),
    serve: deleteObject,
  },
];

/** What the listener does for each request. */
interface Host {
  /** Throws a `Refused` if the request is not allowed, before its body is read. */
  readonly admit: (
    operation: keyof Contract,
    request: FastifyRequest,
    reply: FastifyReply,
    params: Readonly<Record<string, string>>,
  ) => Promise<void>;
  /** Takes a place for an admitted request, once its body is here. Throws a `Refused` if the token lost its rights meanwhile. */
  readonly begin: (request: FastifyRequest, reply: FastifyReply) => Promise<Caller>;
  /** Reports that it was answered. */
  readonly done: (request: FastifyRequest, status: number) => void;
}

const base = "/api/v2/kmip_adapters";
const bodyMax = 131_072;
const walksMax = 2;
/** Names of instances and certificates are shorter. */
const partMax = 64;

/**
 * Serves the eleven routes of Key Protect's KMIP adapters. An adapter is an instance that was ordered here; each request is
 * carried out by operations of the management API.
 */
export function serveKeyProtectApi(
  app: FastifyInstance,
  api: ApiSettings,
  parts: DispatchParts,
  host: Host,
): void {
  const walks = new Shares(walksMax);
  app.register(async (part) => {
    // Callers send several media types, and some send none.
    part.removeAllContentTypeParsers();
    part.addContentTypeParser("*", { parseAs: "string" }, readBody(part));
    for (const route of keyProtectRoutes) {
      const { method, path, operation, about, serve } = route;
      part.route({
        method,
        url: `${base}${path}`,
        bodyLimit: bodyMax,
        config: { operation, about },
        onRequest: async (request, reply) => {
          echo(request, reply);
          await admit(api, host, operation, request, reply);
        },
        handler: async (request, reply) => {
          const calls = new Calls(parts, await host.begin(request, reply));
          const { params, query, body } = request as {
            readonly params: Readonly<Record<string, string>>;
            readonly query: unknown;
            readonly body: unknown;
          };
          const marks = { repeated: repeatedBy(request), newId: parts.newId() };
          const answer = await serve({ api, calls, walks, params, query, body, ...marks });
          await send(reply, answer);
          host.done(request, answer.status);
          return reply;
        },
      });
    }
    refuseOtherMethods(part);
  });
}

/** The route that a request found; undefined if it found none. */
export function aboutOf({ routeOptions }: FastifyRequest): About | undefined {
  return (routeOptions.config as { readonly about?: About }).about;
}

/** Whether a URL is one of IBM's API. */
export function isKeyProtectUrl(url: string): boolean {
  return url.startsWith("/api/v2/");
}

/** A wrong instance gets the answer of a wrong token, and the caller learns nothing about adapters. */
async function admit(
  { instanceId }: ApiSettings,
  host: Host,
  operation: keyof Contract,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const isOurs = request.headers["bluemix-instance"] === instanceId;
  const { adapter: named } = request.params as { readonly adapter?: string };
  const params = isOurs && named !== undefined ? { instance: named.slice(0, partMax + 1) } : {};
  await aboutAdapter(host.admit(operation, request, reply, params));
  if (!isOurs) throw unauthorized();
}

async function send(reply: FastifyReply, answer: IbmAnswer): Promise<void> {
  const text = await printed(answer);
  reply.code(answer.status);
  if (answer.status !== 204) reply.header("content-type", "application/json; charset=utf-8");
  reply.send(answer.status === 204 ? undefined : text);
}

function echo({ headers }: FastifyRequest, reply: FastifyReply): void {
  const id = correlationOf(headers);
  if (id !== undefined) reply.header("correlation-id", id);
}

function correlationOf(headers: FastifyRequest["headers"]): string | undefined {
  const id = headers["correlation-id"];
  return typeof id === "string" && isUuid(id.toLowerCase()) ? id : undefined;
}

/** A client that sends a request once more sends the same `Correlation-Id`; one for several requests is possible too. */
function repeatedBy({ headers, body }: FastifyRequest): string | undefined {
  const id = correlationOf(headers);
  if (id === undefined) return undefined;
  return hash("sha256", `${id.toLowerCase()} ${JSON.stringify(body) ?? ""}`);
}

/** Reads a body of any media type as JSON. An empty one is undefined. */
function readBody(part: FastifyInstance) {
  const readJson = part.getDefaultJsonParser("error", "error");
  return (
    request: FastifyRequest,
    text: string,
    done: (error: Error | null, body?: unknown) => void,
  ): void => {
    if (text === "") {
      done(null, undefined);
      return;
    }
    void readJson(request, text, (error, body) => {
      if (error === null) done(null, body);
      else
        done(badBody(aboutOf(request)?.what ?? "Body could not be read", "the body is not JSON"));
    });
  };
}

/** Answered before a body is read. */
function refuseOtherMethods(part: FastifyInstance): void {
  const all = ["GET", "POST", "PUT", "PATCH", "DELETE"];
  for (const path of new Set(keyProtectRoutes.map((route) => route.path))) {
    const taken = keyProtectRoutes.filter((route) => route.path === path);
    const allow = taken.map(({ method }) => method).join(", ");
    const detail = `this path takes ${allow}`;
    part.route({
      method: all.filter((one) => taken.every(({ method }) => method !== one)),
      url: `${base}${path}`,
      onRequest: async () => {
        throw new Refused({ code: "methodNotAllowed", detail, headers: { allow } });
      },
      handler: async () => undefined,
    });
  }
}
