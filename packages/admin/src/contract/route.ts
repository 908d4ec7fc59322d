import type { z } from "zod";
import type { CommandRow } from "./command.ts";
import type { ProblemCode } from "./problems.ts";

/** What a token may do; each role includes those before it. */
export const roles = ["viewer", "operator", "manager"] as const;
/** One of `roles`. */
export type Role = (typeof roles)[number];

/** The methods that routes use. */
export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** One route of the API: what validates, documents and types it. */
export interface Route {
  readonly method: Method;
  /** With parameters as OpenAPI writes them: `/v1/instances/{instance}`. */
  readonly path: `/v1/${string}`;
  readonly summary: string;
  /** Its group in the documentation. */
  readonly tag: string;
  /** The least role that may call it; `public` needs no token. */
  readonly role: Role | "public";
  /** A token bound to instances may call it for one of these; else only a token bound to none. */
  readonly scope: "instance" | "system";
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly answer: z.ZodType;
  /** 201 for what makes something, 202 for what continues afterwards; 200 unless given. */
  readonly status?: 200 | 201 | 202;
  readonly problems: readonly ProblemCode[];
  /** The answer's `version` is its ETag; on a change, If-Match is looked at, and needed where `required`. */
  readonly etag?: "given" | "required";
  /** Answers Server-Sent Events, each one an `answer`; its `id`, where it has one, is the event's. */
  readonly stream?: true;
  /**
   * The largest body in bytes; 262,144 unless given. A larger one is a list of identifiers, which is read piece by
   * piece: parsing it at once would hold up every client of the node.
   */
  readonly bodyMax?: number;
  /** The answer has a secret that is shown this once: a repeated call with the same idempotency key is refused. */
  readonly shownOnce?: true;
  /** A POST that makes and changes nothing that a repetition would make or change again: it is carried out each time. */
  readonly repeatable?: true;
  /** With the header `Dry-Run: true` nothing is written: the answer is `{ dryRun: true }`, or what would be refused. */
  readonly dryRun?: true;
  /** The action of its audit event. A commit carries the event of its change; refusals are written around the handler. */
  readonly audit?: string;
  /** No commit carries the event of its success, which is written around the handler too. */
  readonly auditsSuccess?: true;
  /** What it makes under `Call.newId`, by which a repetition finds it at any node. */
  readonly makes?: Makes;
  /** Its form on the command line. */
  readonly command: CommandRow;
}

/** What a POST can make; of a signed certificate the answer has the authority's certificate too. */
export type Makes = "instance" | "certificate" | "signedCertificate" | "token";

/** A table of routes by operation. */
export type Routes = Readonly<Record<string, Route>>;

/** Who calls. */
export interface Principal {
  /** Name of the token, or subject of an OIDC token. */
  readonly name: string;
  /** The token's identifier; for OIDC, issuer and subject. */
  readonly id: string;
  readonly role: Role;
  /** The instances that the token is bound to; undefined = all. */
  readonly instances: readonly string[] | undefined;
  readonly remote: string;
}

type In<Schema> = Schema extends z.ZodType ? z.output<Schema> : undefined;
type Out<Schema> = Schema extends z.ZodType ? z.input<Schema> : undefined;

/** A validated call of a route, as its handler gets it. */
export interface Call<R extends Route = Route> {
  readonly principal: Principal;
  readonly params: In<R["params"]>;
  readonly query: In<R["query"]>;
  readonly body: In<R["body"]>;
  /** The version that the caller changes; undefined where it does not say. */
  readonly ifMatch: string | undefined;
  /**
   * The identifier (a UUID) for what the call makes: the same for every repetition of a POST with the same idempotency
   * key, whichever node gets it, so that nothing is made twice.
   */
  readonly newId: string;
  /** Streams: the last event that the caller has. */
  readonly lastEventId: string | undefined;
  /** The action of its route, for the event that is committed with its change. */
  readonly audit: R extends { readonly audit: infer Action } ? Action : string | undefined;
  /** Names the call in log and audit. */
  readonly requestId: string;
  /** Aborted when the caller is gone. */
  readonly signal: AbortSignal;
}

/** What a handler answers: the body, or for a stream, its events. */
export type Answer<R extends Route> = R extends { readonly stream: true }
  ? AsyncIterable<Out<R["answer"]>>
  : Promise<Out<R["answer"]>>;

/** Handlers of a table of routes; a refusal is a `ManagementError`. */
export type HandlersOf<Table extends Routes> = {
  readonly [Name in keyof Table]: (call: Call<Table[Name]>) => Answer<Table[Name]>;
};

/** What a caller gives. */
export type RouteRequest<R extends Route> = {
  readonly [Part in "params" | "query" | "body" as R[Part] extends z.ZodType
    ? Part
    : never]: R[Part] extends z.ZodType ? z.input<R[Part]> : never;
};

/** What a caller gets. */
export type Reply<R extends Route> = In<R["answer"]>;
