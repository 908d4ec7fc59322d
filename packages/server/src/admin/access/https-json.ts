import type { IncomingHttpHeaders } from "node:http";
import { Agent, request } from "node:https";

/** How a document is fetched. */
interface FetchOptions {
  /** PEM of the authorities that may issue the server's certificate; by default the system's. */
  readonly ca?: string;
  readonly timeoutMs: number;
  readonly bytesMax: number;
  readonly signal?: AbortSignal;
}

/** How any request is sent. */
export interface AskOptions extends FetchOptions {
  /** `GET` unless given; with a form, `POST`. */
  readonly method?: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as a form, in place of a body. */
  readonly form?: URLSearchParams;
}

/** An answer of any status. */
export interface JsonAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Undefined if the answer is not JSON. */
  readonly value: unknown;
}

/** The server answered with another status than 200. */
export class OtherStatus extends Error {
  override readonly name = "OtherStatus";
  readonly status: number;

  constructor(url: string, status: number) {
    super(`${url}: answered ${status}`);
    this.status = status;
  }
}

/**
 * Fetches a JSON document over HTTPS, with limits of time and size; follows no redirect. Throws an `OtherStatus` if the
 * server refuses.
 */
export async function fetchJson(url: string, options: AskOptions): Promise<unknown> {
  const { status, value } = await askJson(url, options);
  if (status !== 200) throw new OtherStatus(url, status);
  if (value === undefined) throw new Error(`${url}: the answer is not JSON`);
  return value;
}

/** Sends a request over HTTPS, with limits of time and size; follows no redirect. */
export function askJson(url: string, options: AskOptions): Promise<JsonAnswer> {
  const { ca, timeoutMs, bytesMax, body, form } = options;
  const { method = form === undefined ? "GET" : "POST" } = options;
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal =
    options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  const agent = new Agent({ keepAlive: false, minVersion: "TLSv1.2", ...(ca && { ca }) });
  const payload = form?.toString() ?? (body === undefined ? undefined : JSON.stringify(body));
  const type = form === undefined ? "application/json" : "application/x-www-form-urlencoded";
  return new Promise((resolve, reject) => {
    const headers = {
      accept: "application/json",
      ...(payload !== undefined && {
        "content-type": type,
        "content-length": Buffer.byteLength(payload),
      }),
      ...options.headers,
    };
    const asked = request(url, { agent, signal, method, headers }, (response) => {
      const { statusCode: status = 0 } = response;
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > bytesMax) response.destroy(new Error(`${url}: the answer is too large`));
        else chunks.push(chunk);
      });
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        resolve({ status, headers: response.headers, value: parsed(text) });
      });
    });
    asked.on("error", reject);
    asked.end(payload);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
