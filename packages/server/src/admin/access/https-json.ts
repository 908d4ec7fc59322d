import { Agent, request } from "node:https";

/** How a document is fetched. */
export interface FetchOptions {
  /** PEM of the authorities that may issue the server's certificate; by default the system's. */
  readonly ca?: string;
  readonly timeoutMs: number;
  readonly bytesMax: number;
  readonly signal?: AbortSignal;
}

/** Fetches a JSON document over HTTPS, with limits of time and size; follows no redirect. */
export function fetchJson(url: string, options: FetchOptions): Promise<unknown> {
  const { ca, timeoutMs, bytesMax } = options;
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal =
    options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  const agent = new Agent({ keepAlive: false, minVersion: "TLSv1.2", ...(ca && { ca }) });
  return new Promise((resolve, reject) => {
    const headers = { accept: "application/json" };
    const asked = request(url, { agent, signal, headers }, (response) => {
      const { statusCode } = response;
      if (statusCode !== 200) {
        response.destroy();
        reject(new Error(`${url}: answered ${statusCode}`));
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
    asked.end();
  });
}
