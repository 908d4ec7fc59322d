import {
  type ClientRequestItem,
  type Credential,
  decodeResponse,
  encodeRequest,
  type ImplementedOperation,
  operationRow,
  type Request,
  type Response,
  type ResponseMessage,
  type Version,
} from "@holdfast/kmip";
import { decode, encode } from "@holdfast/ttlv";
import { Connection, type TlsCredentials } from "./connection.ts";
import { type Endpoint, parseEndpoint, printEndpoint } from "./endpoint.ts";
import { ConnectionError, KmipClientError, MalformedResponseError } from "./errors.ts";
import { negotiate } from "./negotiate.ts";
import { type CallOptions, OperationMethods } from "./operation-methods.ts";
import { Pool } from "./pool.ts";

export interface ClientOptions {
  /** KMIP servers of one store, as `host:port`; used in turn. */
  readonly endpoints: readonly string[];
  readonly tls: TlsCredentials;
  /** By default, Discover Versions finds the newest version that client and server both speak. */
  readonly version?: Version;
  /** Sent with every request. */
  readonly credentials?: readonly Credential[];
  /** The largest number of simultaneous connections to one endpoint. */
  readonly connectionsMax?: number;
  /** The largest number of requests in flight on one connection. */
  readonly pipelining?: number;
  readonly connectTimeoutMs?: number;
  /** How long one message may take, from its first byte to the last byte of the answer. */
  readonly requestTimeoutMs?: number;
  /** The largest response in bytes, including its header. */
  readonly responseBytesMax?: number;
}

export const clientDefaults = {
  connectionsMax: 4,
  pipelining: 1,
  connectTimeoutMs: 5000,
  requestTimeoutMs: 10_000,
  responseBytesMax: 16_777_216,
} as const;

/** Far above what a response within `responseBytesMax` needs: the byte limit is the real one. */
const responseItemsMax = 1_000_000;

type Settings = { readonly [Name in keyof typeof clientDefaults]: number };

/**
 * A KMIP client over mutual TLS. Several endpoints are used in turn. A request that could not be
 * sent goes to the next one; a request that was sent and not answered does so only if it may be
 * repeated (`CallOptions.repeat`).
 */
export class KmipClient extends OperationMethods {
  readonly #endpoints: readonly Endpoint[];
  readonly #credentials: readonly Credential[];
  readonly #settings: Settings;
  readonly #pool: Pool;
  #version: Version | undefined;

  private constructor(options: ClientOptions) {
    super();
    this.#endpoints = options.endpoints.map(endpointOf);
    this.#credentials = options.credentials ?? [];
    this.#version = options.version;
    const settings = { ...clientDefaults, ...given(options) };
    this.#settings = settings;
    const open = (endpoint: Endpoint) =>
      Connection.open(endpoint, { tls: options.tls, ...settings });
    this.#pool = new Pool({
      ...settings,
      endpoints: this.#endpoints,
      open,
      waitMs: settings.requestTimeoutMs,
    });
  }

  /** Connects to an endpoint and agrees on a version if none is set; rejects if it cannot. */
  static async connect(options: ClientOptions): Promise<KmipClient> {
    if (options.endpoints.length === 0) throw new TypeError("endpoints: name at least one");
    const client = new KmipClient(options);
    try {
      if (client.#version === undefined) client.#version = await negotiate(client);
      else client.#pool.release(await client.#pool.take(new Set()));
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /** The version of every request that does not set its own. */
  get version(): Version {
    return this.#version ?? "1.4";
  }

  /** Ends every connection; requests in flight get no answer. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Sends one message with any number of operations; failed ones are in the answer, not thrown. */
  async request(
    version: Version,
    items: readonly ClientRequestItem[],
    options: CallOptions = {},
  ): Promise<ResponseMessage> {
    const message = encode(
      encodeRequest({
        version,
        header: { credentials: this.#credentials, ...options.header },
        items: items.length === 1 ? items : items.map(numbered),
      }),
      (length) => Buffer.allocUnsafe(length),
    );
    const repeat = options.repeat ?? items.every(isRepeatable);
    const timeoutMs = options.requestTimeoutMs ?? this.#settings.requestTimeoutMs;
    const { endpoint, response } = await this.#exchange(message, repeat, timeoutMs);
    return this.#read(endpoint, response);
  }

  /** Carries out one operation; rejects with a `KmipClientError` if the server says it failed. */
  override async call<N extends ImplementedOperation>(
    operation: N,
    payload: Request<N>,
    options: CallOptions = {},
  ): Promise<Response<N>> {
    const version = options.version ?? this.version;
    const { items } = await this.request(version, [{ operation, payload }], options);
    const [item] = items;
    if (item?.status === "Success") return item.payload as Response<N>;
    throw new KmipClientError({
      operation,
      status: item?.status ?? "no answer",
      reason: item?.reason,
      message: item?.message,
    });
  }

  async #exchange(message: Uint8Array, repeat: boolean, timeoutMs: number) {
    const timedOut = new Set<Endpoint>();
    // One try more than there are endpoints: an idle connection may have ended unnoticed.
    for (let left = this.#endpoints.length; ; left--) {
      const connection = await this.#pool.take(timedOut);
      try {
        const response = await connection.exchange(message, timeoutMs);
        return { endpoint: connection.endpoint, response };
      } catch (error) {
        if (!(error instanceof ConnectionError)) throw error;
        if (error.failure === "timeout") timedOut.add(connection.endpoint);
        const again = repeat || !error.sent;
        if (!again || left === 0 || timedOut.size === this.#endpoints.length) throw error;
      } finally {
        this.#pool.release(connection);
      }
    }
  }

  #read(endpoint: Endpoint, response: Uint8Array): ResponseMessage {
    try {
      const { responseBytesMax } = this.#settings;
      return decodeResponse(
        decode(response, {
          depthMax: 32,
          bytesMax: responseBytesMax,
          itemsMax: responseItemsMax,
        }),
      );
    } catch (error) {
      throw new MalformedResponseError(printEndpoint(endpoint), error);
    }
  }
}

function endpointOf(text: string): Endpoint {
  const endpoint = parseEndpoint(text);
  if (endpoint === undefined) throw new TypeError(`${text}: is not an endpoint, such as kms:5696`);
  return endpoint;
}

/** The given settings that are not undefined. */
function given(options: ClientOptions): Partial<Settings> {
  const names = Object.keys(clientDefaults) as (keyof Settings)[];
  return Object.fromEntries(
    names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])),
  );
}

/** Whether an operation changes nothing, so that it can be sent again after a lost answer. */
function isRepeatable({ operation }: ClientRequestItem): boolean {
  const row = operationRow(operation);
  return row?.changes === false && row.repeatable !== false;
}

/** A batch of several needs an identifier for each item (KMIP 2.1, 8.3). */
function numbered(item: ClientRequestItem, at: number): ClientRequestItem {
  if (item.uniqueBatchItemId !== undefined) return item;
  const uniqueBatchItemId = Buffer.alloc(8);
  uniqueBatchItemId.writeUInt32BE(at + 1, 4);
  return { ...item, uniqueBatchItemId };
}
