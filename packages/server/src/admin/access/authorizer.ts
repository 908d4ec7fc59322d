import type { Principal, Role, Route } from "@holdfast/admin";
import { originOf } from "@holdfast/regions";
import type { FastifyRequest } from "fastify";
import type { Authenticate, Bearer, TokenRefusal } from "../../management/tokens/bearer.ts";
import { Refused } from "../problem.ts";
import type { Buckets } from "./buckets.ts";
import type { Denial } from "./denial-audit.ts";
import type { InstanceNames } from "./instance-names.ts";

/** The parts that decide who may call what. */
export interface GateParts {
  readonly authenticate: Authenticate;
  readonly instances: InstanceNames;
  /** Lets `instances` know what other nodes wrote a moment ago; never rejects. */
  readonly lookAgain?: () => Promise<void>;
  /** By token. */
  readonly requests: Buckets;
  /** By address, for requests without a valid token. */
  readonly failures: Buckets;
  /** By address, for operations that need no token. */
  readonly strangers: Buckets;
  /** Bytes of bodies, by token. */
  readonly bytes: Buckets;
  readonly denied: (denial: Denial) => void;
}

/** An admitted caller, and the instance that the request is about, if any. */
export interface Admitted {
  readonly principal: Principal;
  readonly instance: string | undefined;
  /** `instance` of the query, as an identifier. */
  readonly queried: string | undefined;
  /** Whose share of this node it uses: an instance's (all tokens of this one only), a token's, an address's. */
  readonly owner: string;
}

const refusalWords: Readonly<Record<TokenRefusal, string>> = {
  missing: "send a token as `Authorization: Bearer …`",
  unknown:
    "unknown token: it belongs to another site, or is not complete; make one with `holdfast token create`",
  expired: "the token has expired: make another",
  revoked: "the token was revoked",
  sessionOver: "the session is over, or this node's clock is behind: sign in again",
  sessionEnded: "the session was ended: sign in again",
  wrongType:
    "this token of the identity provider is not an access token: its `typ` is not listed in admin.oidc.tokenTypes",
  longLived:
    "this token of the identity provider is valid for longer than admin.oidc.lifetimeMaxSeconds",
  noSubject:
    "this token of the identity provider names nobody: its claim `sub` must be a text that is not empty",
  noVcenter:
    "this node knows no vCenter with this identifier: add it to admin.console.vcenters, or compare its guid",
  noSession: "vCenter does not know this session: sign in to the vSphere Client again",
  vcenterAway:
    "this node cannot ask vCenter whether the session counts; try again in a moment, or read the node's log",
  unavailable: "the token cannot be checked now; try again in a moment",
};

/** What a caller is admitted by. */
export type Asking = Pick<FastifyRequest, "id" | "ip" | "headers" | "params" | "query">;

/** Admits callers by token, then roles, then instance; none learns of what it may not see. */
export class Authorizer {
  readonly #parts: GateParts;

  constructor(parts: GateParts) {
    this.#parts = parts;
  }

  /** Throws a `Refused` if the request is not allowed, before its body is read. */
  async admit(
    operation: string,
    route: Pick<Route, "roles" | "scope">,
    request: Asking,
    bodyMax: number,
  ): Promise<Admitted> {
    if (route.roles === "public") return this.#nobody(request.ip);
    const bearer = await this.#parts.authenticate(request.headers.authorization, request.ip);
    const about = { operation, remote: request.ip, requestId: request.id };
    if (typeof bearer === "string") throw this.#unknown(bearer, about);
    const principal = principalOf(bearer, request.ip);
    const waitSeconds = this.#parts.requests.take(principal.id);
    if (waitSeconds > 0) throw tooMany(waitSeconds, "too many requests with this token");
    if (bearer.stale === true && !mayCall(["viewer"], route)) {
      throw new Refused({
        code: "storeUnavailable",
        detail:
          "no region's store can be read, so the token cannot be checked: until then it may read, but change nothing",
      });
    }
    if (bearer.only?.includes(operation) === false) {
      this.#parts.denied({ ...about, principal, reason: "role" });
      throw forbidden(`this one-time token allows only ${bearer.only.join(", ")}`);
    }
    if (!mayCall(principal.roles, route)) {
      this.#parts.denied({ ...about, principal, reason: "role" });
      const needed = route.roles.join(" or ");
      const has = principal.roles.join(", ");
      throw forbidden(
        has === ""
          ? `${principal.name} has no role here: name this user in admin.console.vcenters[].viewers`
          : `this needs the role ${needed}; the token has ${has}`,
      );
    }
    if (route.scope === "system" && principal.instances !== undefined) {
      this.#parts.denied({ ...about, principal, reason: "scope" });
      throw forbidden(
        "this token is bound to instances or labels, and the request concerns the whole system",
      );
    }
    const look = async (named: unknown): Promise<string | undefined> =>
      typeof named === "string" ? await this.#instance(named, principal, about) : undefined;
    const bytesWait = this.#parts.bytes.take(principal.id, bodyBytes(request, bodyMax));
    if (bytesWait > 0) throw tooMany(bytesWait, "too many bytes with this token");
    const given = (request.params ?? {}) as Record<string, unknown>;
    const instance = await look(given["instance"]);
    const queried = await look((request.query as Record<string, unknown>)["instance"]);
    return { principal, instance, queried, owner: ownerOf(principal) };
  }

  /** Whether the token still has the same rights; called again and again while a stream is open. */
  async stillAdmitted(route: Route, header: string | undefined, was: Principal): Promise<boolean> {
    const bearer = await this.#parts.authenticate(header, was.remote);
    // A session of a vCenter that cannot be asked may be over: its stream ends, and the client connects again.
    if (typeof bearer === "string") return bearer === "unavailable";
    const same = JSON.stringify(bearer.instances) === JSON.stringify(was.instances);
    return bearer.id === was.id && same && mayCall(bearer.roles, route);
  }

  /**
   * Admits a request again once its body is here, which may be long after its head; throws a `Refused` if the token was
   * revoked, has ended or lost its rights meanwhile.
   */
  async admitAgain(
    { roles, scope }: Pick<Route, "roles" | "scope">,
    { headers, ip }: Pick<Asking, "headers" | "ip">,
    was: Admitted,
  ): Promise<Admitted> {
    if (roles === "public") return was;
    const bearer = await this.#parts.authenticate(headers.authorization, ip);
    if (typeof bearer === "string") {
      if (isPassing(bearer)) return was;
      throw unauthenticated(refusalWords[bearer]);
    }
    const { instances: bound } = bearer;
    const isAllowed =
      mayCall(bearer.roles, { roles }) && (scope !== "system" || bound === undefined);
    const named = [was.instance, was.queried].filter((id) => id !== undefined);
    if (bearer.id !== was.principal.id || !isAllowed || !named.every((id) => reaches(bound, id))) {
      throw unauthenticated("the token lost these rights while the request arrived");
    }
    return { ...was, principal: principalOf(bearer, ip) };
  }

  /** The caller of an operation that needs no token. */
  #nobody(remote: string): Admitted {
    const waitSeconds = this.#parts.strangers.take(originOf(remote));
    if (waitSeconds > 0)
      throw tooMany(waitSeconds, "too many requests without a token from this address");
    const principal: Principal = { name: "", id: "", roles: [], instances: [], remote };
    const owner = `address ${originOf(remote)}`;
    return { principal, instance: undefined, queried: undefined, owner };
  }

  #unknown(refusal: TokenRefusal, about: Omit<Denial, "reason" | "principal">): Refused {
    const waitSeconds = this.#parts.failures.take(originOf(about.remote));
    // An address that only guesses gets the same answer each time, and no audit event each time.
    if (waitSeconds > 0) return tooMany(waitSeconds, "too many requests without a valid token");
    this.#parts.denied({ ...about, principal: undefined, reason: refusal });
    if (isPassing(refusal)) {
      return new Refused({ code: "storeUnavailable", detail: refusalWords[refusal] });
    }
    return unauthenticated(refusalWords[refusal], refusal !== "missing");
  }

  /** An instance that the token is not bound to gets the same answer as one that does not exist. */
  async #instance(
    named: string,
    principal: Principal,
    about: Omit<Denial, "reason" | "principal">,
  ): Promise<string> {
    const { instances, lookAgain } = this.#parts;
    const bound = principal.instances;
    const isReached = (id: string | undefined): id is string =>
      id !== undefined && reaches(bound, id);
    let id = instances.idOf(named);
    if (!isReached(id)) {
      // It may have been created at another node a moment ago. An instance that the token is not bound to must not be
      // answered sooner than one that does not exist.
      await lookAgain?.();
      id = instances.idOf(named);
    }
    if (isReached(id)) return id;
    if (id !== undefined) {
      this.#parts.denied({ ...about, principal, reason: "instance", instance: id });
    }
    throw new Refused({ code: "notFound", detail: "instance not found" });
  }
}

/** Whether a token that is bound to these instances reaches one; undefined = all. */
function reaches(bound: Principal["instances"], id: string): boolean {
  return bound === undefined || bound.includes(id);
}

/** Refuses a token, or a request without one. */
function unauthenticated(detail: string, hasToken = true): Refused {
  const error = hasToken ? ', error="invalid_token"' : "";
  return new Refused({
    code: "unauthenticated",
    detail,
    headers: { "www-authenticate": `Bearer realm="holdfast"${error}` },
  });
}

/** Whether the token may be valid: what knows it cannot be asked now. */
function isPassing(refusal: TokenRefusal): boolean {
  return refusal === "unavailable" || refusal === "vcenterAway";
}

/** The largest size of the body: its Content-Length, or the limit if the request gives none. */
export function bodyBytes({ headers }: Asking, most: number): number {
  const length = headers["content-length"];
  if (length === undefined) return headers["transfer-encoding"] === undefined ? 0 : most;
  return Math.min(Number(length) || 0, most);
}

/** A token that is bound to one instance uses its share; with several, it has one share for all of them. */
function ownerOf({ id, instances = [] }: Principal): string {
  const [instance, ...others] = instances;
  return instance === undefined || others.length > 0 ? `token ${id}` : `instance ${instance}`;
}

function principalOf({ id, name, roles, instances }: Bearer, remote: string): Principal {
  return { id, name, roles, instances, remote };
}

/** Whether one of these roles may call the route. */
export function mayCall(has: readonly Role[], { roles }: Pick<Route, "roles">): boolean {
  return roles === "public" || has.some((role) => roles.includes(role));
}

/** A refusal for want of a role. */
export function forbidden(detail: string): Refused {
  return new Refused({ code: "forbidden", detail });
}

/** A refusal with the time to wait. */
export function tooMany(seconds: number, detail: string): Refused {
  return new Refused({
    code: "tooMany",
    detail: `${detail}: wait ${seconds} s`,
    headers: { "retry-after": String(seconds) },
  });
}
