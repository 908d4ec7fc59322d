import type { ImplementedOperation, Request, Response } from "@holdfast/kmip";
import type { OperationContext } from "./context.ts";

/** One operation's decision: request in, response out, a `KmipError` thrown to refuse. */
export type Handler<N extends ImplementedOperation> = (
  context: OperationContext,
  request: Request<N>,
) => Response<N> | Promise<Response<N>>;

/** A handler for every operation that has a request in the table; the compiler names a missing one. */
export type Handlers = { readonly [N in ImplementedOperation]: Handler<N> };
