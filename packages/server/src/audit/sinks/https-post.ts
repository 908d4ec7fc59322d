import { Agent, request } from "node:https";
import { reasonOf } from "../../base/operator-error.ts";

/** How something is posted. */
export interface PostOptions {
  readonly ca: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** The result; `says` names the URL, and never what was sent. */
export interface Posted {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  readonly says: string;
}

const unreachable = 503;

/** Posts over HTTPS; follows no redirect, reads only the answer's head, and never rejects. */
export async function httpsPost(url: string, options: PostOptions): Promise<Posted> {
  const { ca, headers, body, timeoutMs } = options;
  const where = whereOf(url);
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(timeoutMs)]);
  const agent = new Agent({
    keepAlive: false,
    minVersion: "TLSv1.2",
    ...(ca === undefined ? {} : { ca }),
  });
  return new Promise((resolve) => {
    const failed = (error: unknown): void => {
      const why = signal.aborted ? `no answer within ${timeoutMs} ms` : reasonOf(error);
      resolve({ status: unreachable, retryAfterMs: undefined, says: `${where}: ${why}` });
    };
    try {
      const length = { "content-length": String(Buffer.byteLength(body)) };
      const options = { method: "POST", agent, signal, headers: { ...headers, ...length } };
      const sent = request(url, options, (response) => {
        const status = response.statusCode ?? 0;
        const retryAfterMs = seconds(response.headers["retry-after"]);
        response.destroy();
        resolve({ status, retryAfterMs, says: `${where}: answered ${status}` });
      });
      sent.on("error", failed);
      sent.end(body);
    } catch (error) {
      failed(error);
    }
  });
}

/** The URL without user, password and query, which may hold secrets. */
function whereOf(url: string): string {
  const { origin, pathname } = new URL(url);
  return `webhook ${origin}${pathname}`;
}

function seconds(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,6}$/.test(header) ? Number(header) * 1000 : undefined;
}
