import { hash } from "node:crypto";
import { type Contract, contract, type Reply } from "@holdfast/admin";
import type { FastifyRequest } from "fastify";
import { type Admitted, forbidden, mayCall } from "../access/authorizer.ts";
import { carryOut, type DispatchParts, prepare, type Served } from "../dispatch.ts";
import { Refused } from "../problem.ts";
import { schemasOf } from "../validate.ts";

/** What an operation is called with, beside the instance of the request's path. */
interface Given {
  /** The instance that it is about; the one of the request's path unless given. */
  readonly instance?: string;
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: object;
  /** The call makes its record once for each key. */
  readonly key?: string | undefined;
}

/** A request that was admitted. */
export interface Caller {
  readonly request: FastifyRequest;
  readonly admitted: Admitted;
  /** Aborted when the caller disconnects. */
  readonly signal: AbortSignal;
}

const served = new Map<string, Served>();

/**
 * Calls operations of the management API for one request of IBM's API: the same validation, roles, approvals and audit
 * events as there.
 */
export class Calls {
  readonly #parts: DispatchParts;
  readonly #caller: Caller;

  constructor(parts: DispatchParts, caller: Caller) {
    this.#parts = parts;
    this.#caller = caller;
  }

  get signal(): AbortSignal {
    return this.#caller.signal;
  }

  /** Whose share of this node the request uses. */
  get owner(): string {
    return this.#caller.admitted.owner;
  }

  /** The identifier of the instance that the path names; empty if it names none. */
  get instance(): string {
    return this.#caller.admitted.instance ?? "";
  }

  /** Carries out an operation; rejects as its route of the management API does. */
  async call<Name extends keyof Contract>(
    operation: Name,
    given: Given = {},
  ): Promise<Reply<Contract[Name]>> {
    try {
      return (await this.#carryOut(operation, given)) as Reply<Contract[Name]>;
    } catch (error) {
      // What the call with this key made was deleted since: a later call used the next key.
      const isOld = error instanceof Refused && error.problem.code === "madeAlready";
      if (!isOld || given.key === undefined) throw error;
      return await this.call(operation, { ...given, key: hash("sha256", given.key) });
    }
  }

  async #carryOut(operation: keyof Contract, given: Given): Promise<unknown> {
    const { request, admitted, signal } = this.#caller;
    const found = servedOf(operation);
    const { route } = found;
    if (!mayCall(admitted.principal.roles, route)) {
      throw forbidden(`this needs the role ${String(route.roles)}`);
    }
    const { approval } = request.headers;
    const headers = {
      ...(given.key !== undefined && { "idempotency-key": given.key }),
      ...(approval !== undefined && route.guarded !== undefined && { approval }),
    };
    const instance = given.instance ?? admitted.instance;
    const isAbout = instance !== undefined && route.path.includes("{instance}");
    const params = { ...given.params, ...(isAbout && { instance }) };
    const { query, body } = given;
    const asked = { id: request.id, headers, params, query: query ?? {}, body };
    const prepared = prepare(this.#parts, found, asked, { ...admitted, instance }, signal);
    return (await carryOut(this.#parts, found, prepared)).body;
  }
}

function servedOf(operation: keyof Contract): Served {
  const known = served.get(operation);
  if (known !== undefined) return known;
  const route = contract[operation];
  const made = { operation, route, schemas: schemasOf(route) };
  served.set(operation, made);
  return made;
}
