import type { z } from "zod";
import type { ApprovalAction } from "../approvals/policy.ts";
import type { CommandRow } from "./command.ts";
import type { ProblemCode } from "./problems.ts";

/** The roles of tokens. None includes another: each route lists those that may call it. */
export const roles = ["viewer", "auditor", "operator", "security-officer", "manager"] as const;
/** One of `roles`. */
export type Role = (typeof roles)[number];

/** The roles that may call a route; `holdfast token create --roles` says what each is for. */
export const may = {
  /** Reads events, and who it is itself. */
  readEvents: roles,
  /** Reads everything else; it changes nothing. */
  read: ["viewer", "operator", "security-officer", "manager"],
  /** Runs the system, and changes keys. */
  operate: ["operator", "manager"],
  /** Looks into refused clients, to help them or to admit them. */
  admit: ["operator", "security-officer", "manager"],
  /** Decides who is a KMIP client: certificates, users, deny list. */
  decideClients: ["security-officer"],
  /** Makes tokens, with the roles that it may give; revokes those that have one of them. */
  giveTokens: ["security-officer", "manager"],
  /** Manages instances and roots of trust. */
  manage: ["manager"],
} as const satisfies Readonly<Record<string, readonly Role[]>>;

/** The methods that routes use. */
export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** One route of the API: what validates, documents and types it. */
export interface Route {
  readonly method: Method;
  /** The path, with parameters as OpenAPI writes them: `/v1/instances/{instance}`. */
  readonly path: `/v1/${string}`;
  readonly summary: string;
  /** Its group in the documentation. */
  readonly tag: string;
  /** The roles that may call it; `public` needs no token. */
  readonly roles: readonly Role[] | "public";
  /** `instance`: a token bound to instances may call it for these; else only an unbound one. */
  readonly scope: "instance" | "system";
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly answer: z.ZodType;
  /** 201 if it creates something, 202 if work continues afterwards; 200 by default. */
  readonly status?: 200 | 201 | 202;
  readonly problems: readonly ProblemCode[];
  /** The answer's `version`, if it has one, is its ETag. A change checks If-Match, and needs it if `required`. */
  readonly etag?: "given" | "required";
  /** Answers with Server-Sent Events. Each is an `answer`, whose `id`, if any, is the event's. */
  readonly stream?: true;
  /**
   * The largest body in bytes; 262,144 by default. If given, the body is a list of identifiers that
   * is read piece by piece: parsing it at once would block every client of the node.
   */
  readonly bodyMax?: number;
  /** The answer has a secret that is shown only once: a repetition with the same key is refused. */
  readonly shownOnce?: true;
  /** A POST that is safe to repeat: it needs no idempotency key and is carried out each time. */
  readonly repeatable?: true;
  /** Allows `Dry-Run: true`: writes nothing and answers `{ dryRun: true }` or the refusal. */
  readonly dryRun?: true;
  /** The action of its audit event. A commit includes its event; a wrapper audits refusals. */
  readonly audit?: string;
  /** No commit contains the event of its success: the handler's wrapper audits that too. */
  readonly auditsSuccess?: true;
  /** What it creates under `Call.newId`, so that a repetition at any node finds it. */
  readonly makes?: Makes;
  /** Where the approval policy names this action, a call is carried out only with an approved request. */
  readonly guarded?: Guard;
  /** Its form on the command line. */
  readonly command: CommandRow;
}

/** What approvals a route needs. */
export interface Guard {
  readonly action: ApprovalAction;
  /** Only these calls need them; all unless given. */
  readonly when?: (given: GuardedCall) => boolean;
  /** The field of the body that names instances. Approvers sign their identifiers, and the call is carried out with these. */
  readonly instances?: string;
  /** Where the body has secrets, apart from the command's: names with dots between, `*` for any. Approvers do not see them. */
  readonly secrets?: readonly string[];
}

/** What a guard decides on. */
interface GuardedCall {
  readonly body: Readonly<Record<string, unknown>>;
  /** Whether an administrator shredded the keys of the call's instance. */
  readonly shredded: boolean;
}

/** What a POST can create; a signed certificate's answer includes the authority's certificate. */
export type Makes = "instance" | "certificate" | "signedCertificate" | "token";

/** A table of routes by operation. */
export type Routes = Readonly<Record<string, Route>>;

/** Who calls. */
export interface Principal {
  /** Name of the token, or subject of an OIDC token. */
  readonly name: string;
  /** The token's identifier; for OIDC, issuer and subject. */
  readonly id: string;
  readonly roles: readonly Role[];
  /** The instances that the token reaches; undefined = all. */
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
  /** The version that the caller wants to change; undefined if it names none. */
  readonly ifMatch: string | undefined;
  /** The approved request that the call uses: a UUID. */
  readonly approval?: string | undefined;
  /**
   * The identifier (a UUID) for what the call creates: the same for every repetition of a POST with
   * the same idempotency key, at any node, so that nothing is created twice.
   */
  readonly newId: string;
  /** For streams: the last event that the caller received. */
  readonly lastEventId: string | undefined;
  /** The action of its route, for the event that is committed with its change. */
  readonly audit: R extends { readonly audit: infer Action } ? Action : string | undefined;
  /** Identifies the call in log and audit. */
  readonly requestId: string;
  /** Aborted when the caller disconnects. */
  readonly signal: AbortSignal;
}

/** What a handler returns: the body, or for a stream, its events. */
export type Answer<R extends Route> = R extends { readonly stream: true }
  ? AsyncIterable<Out<R["answer"]>>
  : Promise<Out<R["answer"]>>;

/** Handlers of a table of routes; they refuse with a `ManagementError`. */
export type HandlersOf<Table extends Routes> = {
  readonly [Name in keyof Table]: (call: Call<Table[Name]>) => Answer<Table[Name]>;
};

/** What a caller sends. */
export type RouteRequest<R extends Route> = {
  readonly [Part in "params" | "query" | "body" as R[Part] extends z.ZodType
    ? Part
    : never]: R[Part] extends z.ZodType ? z.input<R[Part]> : never;
};

/** What a caller gets. */
export type Reply<R extends Route> = In<R["answer"]>;
