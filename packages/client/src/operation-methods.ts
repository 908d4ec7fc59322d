import {
  type ClientRequest,
  type ImplementedOperation,
  type OperationRow,
  operations,
  type Request,
  type Response,
  type Version,
} from "@holdfast/kmip";

/** Options of one request, apart from its operation. */
export interface CallOptions {
  /**
   * Whether the request may be sent again, to the next endpoint, if the connection ends before its
   * answer. By default, only if none of its operations changes anything.
   */
  readonly repeat?: boolean;
  /** The version of this request; by default the client's. */
  readonly version?: Version;
  readonly header?: ClientRequest["header"];
  readonly requestTimeoutMs?: number;
}

/** One method per operation (KMIP 2.1, 6.1), such as `getAttributes(request)`, for `call`. */
type Methods = {
  readonly [N in ImplementedOperation as Uncapitalize<N>]: (
    request: Request<N>,
    options?: CallOptions,
  ) => Promise<Response<N>>;
};

abstract class Calls {
  /** Carries out one operation; rejects with a `KmipClientError` if the server says it failed. */
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
