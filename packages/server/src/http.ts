import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Address, printAddress } from "./address.ts";
import type { Health } from "./health.ts";
import { listenError } from "./listen-error.ts";
import type { Metrics } from "./metrics.ts";

/** A listener that is open: where, and how to end it. */
export interface OpenListener {
  readonly address: string;
  close(): Promise<void>;
}

type Answer = (url: URL) => Promise<Reply> | Reply;
interface Reply {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

const plain = "text/plain; charset=utf-8";

/** Opens `/metrics`, `/livez` and `/readyz`. Every answer is what was known last; none waits for the store. */
export async function openHttp(
  listen: Address,
  parts: { readonly metrics: Metrics; readonly health: Health },
): Promise<OpenListener> {
  const { metrics, health } = parts;
  const paths = new Map<string, Answer>([
    [
      "/metrics",
      async () => ({ status: 200, type: metrics.contentType, text: await metrics.print() }),
    ],
    ["/livez", () => ({ status: 200, type: plain, text: "ok\n" })],
    ["/readyz", (url) => ready(health, url.searchParams.has("verbose"))],
  ]);
  const server = createServer(
    { requestTimeout: 5000, headersTimeout: 5000 },
    (request, response) => void answer(paths, request, response),
  );
  server.maxConnections = 100;
  server.keepAliveTimeout = 5000;
  const port = await listening(server, listen);
  return {
    address: printAddress({ host: listen.host, port }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function ready(health: Health, verbose: boolean): Reply {
  const report = health.report();
  const serving = report.services[""];
  const word = serving ? "ok" : "not ready";
  const lines = verbose || !serving ? [word, ...report.lines] : [word];
  return { status: serving ? 200 : 503, type: plain, text: `${lines.join("\n")}\n` };
}

async function answer(
  paths: ReadonlyMap<string, Answer>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = readUrl(request.url);
  const path = url === undefined ? undefined : paths.get(url.pathname);
  if (url === undefined || path === undefined) {
    send(response, { status: 404, type: plain, text: "not found\n" });
  } else if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("allow", "GET, HEAD");
    send(response, { status: 405, type: plain, text: "method not allowed\n" });
  } else {
    const reply = await Promise.resolve(path(url)).catch(() => undefined);
    send(response, reply ?? { status: 500, type: plain, text: "internal error\n" });
  }
}

function readUrl(target: string | undefined): URL | undefined {
  const base = "http://node";
  return target !== undefined && URL.canParse(target, base) ? new URL(target, base) : undefined;
}

function send(response: ServerResponse, { status, type, text }: Reply): void {
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  response.end(text);
}

function listening(server: Server, { host, port }: Address): Promise<number> {
  return new Promise((resolve, reject) => {
    // Stays when the listener is open: a failed accept must not end the process.
    server.on("error", (error) =>
      reject(listenError("http.listen", printAddress({ host, port }), error)),
    );
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}
