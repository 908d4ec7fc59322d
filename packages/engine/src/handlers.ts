import type { ImplementedOperation, Request, Response } from "@holdfast/kmip";
import type { OperationContext } from "./context.ts";
import { activate } from "./operations/activate.ts";
import { check } from "./operations/check.ts";
import { create } from "./operations/create.ts";
import { destroy } from "./operations/destroy.ts";
import { discoverVersions } from "./operations/discover-versions.ts";
import { get } from "./operations/get.ts";
import { interop } from "./operations/interop.ts";
import { log } from "./operations/log.ts";
import { query } from "./operations/query.ts";
import { register } from "./operations/register.ts";
import { revoke } from "./operations/revoke.ts";

/** One operation's decision: request in, response out, a `KmipError` thrown to refuse. */
export type Handler<N extends ImplementedOperation> = (
  context: OperationContext,
  request: Request<N>,
) => Response<N> | Promise<Response<N>>;

/** A handler for every operation that has a request in the table; the compiler names a missing one. */
export type Handlers = { readonly [N in ImplementedOperation]: Handler<N> };

/** The engine's operations. */
export const handlers = {
  Activate: activate,
  Check: check,
  Create: create,
  Destroy: destroy,
  DiscoverVersions: discoverVersions,
  Get: get,
  Interop: interop,
  Log: log,
  Query: query,
  Register: register,
  Revoke: revoke,
} as unknown as Handlers;
