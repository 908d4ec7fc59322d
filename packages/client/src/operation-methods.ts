import {
  type ClientRequest,
  type ImplementedOperation,
  type OperationRow,
  operations,
  type Request,
  type Response,
  type Version,
} from "@holdfast/kmip";

/** What may be said for one request apart from the operation. */
export interface CallOptions {
  /**
   * Whether the request may be sent again, to the next endpoint, when the connection ended before its answer. Left
   * out: only where every operation of it changes nothing.
   */
  readonly repeat?: boolean;
  /** Other than the client's. */
  readonly version?: Version;
  readonly header?: ClientRequest["header"];
  readonly requestTimeoutMs?: number;
}

/** One method an operation (KMIP 2.1, 6.1), such as `getAttributes(request, options)`; all of them are `call`. */
type Methods = {
  readonly [N in ImplementedOperation as Uncapitalize<N>]: (
    request: Request<N>,
    options?: CallOptions,
  ) => Promise<Response<N>>;
};

abstract class Calls {
  /** Carries out one operation; rejects with a `KmipClientError` when the server says that it failed. */
  abstract call<N extends ImplementedOperation>(
    operation: N,
    payload: Request<N>,
    options?: CallOptions,
  ): Promise<Response<N>>;
}

for (const [name, { request }] of Object.entries<OperationRow>(operations)) {
  if (request === undefined) continue;
  const operation = name as ImplementedOperation;
  Object.defineProperty(Calls.prototype, `${name.charAt(0).toLowerCase()}${name.slice(1)}`, {
    value(this: Calls, payload: Request<typeof operation>, options?: CallOptions) {
      return this.call(operation, payload, options);
    },
  });
}

/** A class with a method for each operation of the table. */
export const OperationMethods = Calls as abstract new () => Calls & Methods;
