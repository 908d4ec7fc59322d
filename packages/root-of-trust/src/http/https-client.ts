import { Semaphore } from "@holdfast/engine";
import { Pool } from "undici";

/** How to reach a server. */
export interface HttpsTarget {
  /** `https://HOST[:PORT]`. */
  readonly url: string;
  /** PEM of the authorities to trust in place of the well-known ones. */
  readonly ca?: string;
  /** Maximum number of connections, and so of calls in flight; further calls wait for a free one. */
  readonly connections: number;
  /** Deadline of one call, without the wait for a free connection. */
  readonly attemptMs: number;
}

/** The request to send. */
export interface HttpsRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** The response, with any status. */
export interface HttpsAnswer {
  readonly status: number;
  readonly body: string;
  readonly header: (name: string) => string | undefined;
}

const connectMs = 3000;
/** A page of a thousand keys is about one megabyte. */
const mostBytes = 16 * 1024 * 1024;

/** Calls one HTTPS server. Always verifies certificates, never follows redirects, limits the response size. */
export class HttpsClient {
  readonly #pool: Pool;
  readonly #turns: Semaphore;
  readonly #attemptMs: number;

  constructor({ url, ca, connections, attemptMs }: HttpsTarget) {
    this.#turns = new Semaphore(connections);
    this.#attemptMs = attemptMs;
    this.#pool = new Pool(url, {
      connections,
      // One call at a time per connection: a slow call never delays others behind it.
      pipelining: 1,
      allowH2: false,
      maxResponseSize: mostBytes,
      connect: { timeout: connectMs, minVersion: "TLSv1.2", ...(ca !== undefined && { ca }) },
    });
  }

  /** Rejects when no complete response arrives: connection lost, timeout, untrusted certificate. */
  async call(request: HttpsRequest, signal: AbortSignal): Promise<HttpsAnswer> {
    const send = () => {
      const late = AbortSignal.timeout(this.#attemptMs);
      return this.#send(request, AbortSignal.any([late, signal]));
    };
    return await this.#turns.run(send, { signal });
  }

  /** Closes every connection; calls in flight reject. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  async #send(
    { method, path, headers, body }: HttpsRequest,
    signal: AbortSignal,
  ): Promise<HttpsAnswer> {
    const answer = await this.#pool.request({
      method,
      path,
      headers,
      body: body ?? null,
      signal,
      // The caller's signal is the only limit, so that a call has one deadline and not several.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    const text = await answer.body.text();
    const header = (name: string) => {
      const value = answer.headers[name];
      return Array.isArray(value) ? value[0] : value;
    };
    return { status: answer.statusCode, body: text, header };
  }
}

/** Why no response arrived, in one word: `ECONNREFUSED`, `ENOTFOUND`, `CERT_HAS_EXPIRED`, `TimeoutError`. */
export function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  const code: unknown = Reflect.get(error, "code");
  return typeof code === "string" ? code : error.name;
}
