import type {
  ClientRequest,
  ImplementedOperation,
  Request,
  Response,
  Version,
} from "@holdfast/kmip";

/** What may be said for one request apart from the operation. */
export interface CallOptions {
  /**
   * Whether the request may be sent again, to the next endpoint, when the connection ended before its answer. Left
   * out: only where every operation of it is in `repeatable`.
   */
  readonly repeat?: boolean;
  /** Other than the client's. */
  readonly version?: Version;
  readonly header?: ClientRequest["header"];
  readonly requestTimeoutMs?: number;
}

/** One method an operation (KMIP 2.1, 6.1); all of them are `call`. */
export abstract class OperationMethods {
  abstract call<N extends ImplementedOperation>(
    operation: N,
    payload: Request<N>,
    options?: CallOptions,
  ): Promise<Response<N>>;

  activate(request: Request<"Activate">, options?: CallOptions): Promise<Response<"Activate">> {
    return this.call("Activate", request, options);
  }

  addAttribute(
    request: Request<"AddAttribute">,
    options?: CallOptions,
  ): Promise<Response<"AddAttribute">> {
    return this.call("AddAttribute", request, options);
  }

  adjustAttribute(
    request: Request<"AdjustAttribute">,
    options?: CallOptions,
  ): Promise<Response<"AdjustAttribute">> {
    return this.call("AdjustAttribute", request, options);
  }

  check(request: Request<"Check">, options?: CallOptions): Promise<Response<"Check">> {
    return this.call("Check", request, options);
  }

  create(request: Request<"Create">, options?: CallOptions): Promise<Response<"Create">> {
    return this.call("Create", request, options);
  }

  deleteAttribute(
    request: Request<"DeleteAttribute">,
    options?: CallOptions,
  ): Promise<Response<"DeleteAttribute">> {
    return this.call("DeleteAttribute", request, options);
  }

  destroy(request: Request<"Destroy">, options?: CallOptions): Promise<Response<"Destroy">> {
    return this.call("Destroy", request, options);
  }

  discoverVersions(
    request: Request<"DiscoverVersions">,
    options?: CallOptions,
  ): Promise<Response<"DiscoverVersions">> {
    return this.call("DiscoverVersions", request, options);
  }

  get(request: Request<"Get">, options?: CallOptions): Promise<Response<"Get">> {
    return this.call("Get", request, options);
  }

  getAttributes(
    request: Request<"GetAttributes">,
    options?: CallOptions,
  ): Promise<Response<"GetAttributes">> {
    return this.call("GetAttributes", request, options);
  }

  getAttributeList(
    request: Request<"GetAttributeList">,
    options?: CallOptions,
  ): Promise<Response<"GetAttributeList">> {
    return this.call("GetAttributeList", request, options);
  }

  interop(request: Request<"Interop">, options?: CallOptions): Promise<Response<"Interop">> {
    return this.call("Interop", request, options);
  }

  locate(request: Request<"Locate">, options?: CallOptions): Promise<Response<"Locate">> {
    return this.call("Locate", request, options);
  }

  log(request: Request<"Log">, options?: CallOptions): Promise<Response<"Log">> {
    return this.call("Log", request, options);
  }

  modifyAttribute(
    request: Request<"ModifyAttribute">,
    options?: CallOptions,
  ): Promise<Response<"ModifyAttribute">> {
    return this.call("ModifyAttribute", request, options);
  }

  query(request: Request<"Query">, options?: CallOptions): Promise<Response<"Query">> {
    return this.call("Query", request, options);
  }

  register(request: Request<"Register">, options?: CallOptions): Promise<Response<"Register">> {
    return this.call("Register", request, options);
  }

  revoke(request: Request<"Revoke">, options?: CallOptions): Promise<Response<"Revoke">> {
    return this.call("Revoke", request, options);
  }

  setAttribute(
    request: Request<"SetAttribute">,
    options?: CallOptions,
  ): Promise<Response<"SetAttribute">> {
    return this.call("SetAttribute", request, options);
  }
}
