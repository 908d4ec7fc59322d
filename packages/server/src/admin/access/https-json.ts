import { Agent, request } from "node:https";

/** How a document is fetched. */
export interface FetchOptions {
  /** PEM of the authorities that may issue the server's certificate; by default the system's. */
  readonly ca?: string;
  readonly timeoutMs: number;
  readonly bytesMax: number;
  readonly signal?: AbortSignal;
  /** Sent by POST; without it, the document is read by GET. */
  readonly form?: URLSearchParams;
  /** The value of the header Authorization. */
  readonly authorization?: string;
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
export function fetchJson(url: string, options: FetchOptions): Promise<unknown> {
  const { ca, timeoutMs, bytesMax, form, authorization } = options;
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal =
    options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  const agent = new Agent({ keepAlive: false, minVersion: "TLSv1.2", ...(ca && { ca }) });
  return new Promise((resolve, reject) => {
    const method = form === undefined ? "GET" : "POST";
    const headers = {
      accept: "application/json",
      ...(form && { "content-type": "application/x-www-form-urlencoded" }),
      ...(authorization && { authorization }),
    };
    const asked = request(url, { agent, signal, method, headers }, (response) => {
      const { statusCode = 0 } = response;
      if (statusCode !== 200) {
        response.destroy();
        reject(new OtherStatus(url, statusCode));
        return;
      }
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > bytesMax) response.destroy(new Error(`${url}: the answer is too large`));
        else chunks.push(chunk);
      });
      response.on("error", reject);
      response.on("end", () => {
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString("utf8")));
        } catch {
          reject(new Error(`${url}: the answer is not JSON`));
        }
      });
    });
    asked.on("error", reject);
    asked.end(form?.toString());
  });
}
