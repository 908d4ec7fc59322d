import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { printable } from "@holdfast/admin/approval-text";
import { type Address, printAddress } from "../base/address.ts";
import type { Health } from "./health.ts";
import type { Metrics } from "./metrics/metrics.ts";
import { boundProbers, listening } from "./probers.ts";

/** An open listener: its address, and how to close it. */
export interface OpenListener {
  readonly address: string;
  close(): Promise<void>;
}

type Answer = (url: URL, headers: IncomingHttpHeaders) => Promise<Reply> | Reply;
interface Reply {
  readonly status: number;
  readonly type: string;
  readonly text: string | Buffer;
}

const plain = "text/plain; charset=utf-8";
/** How long a request may take to arrive, and how long a connection may stay open without one. */
const requestUsualMs = 5000;
/** A text is reused for this many times the duration of its printing. */
const reuseFactor = 20;
const reuseMaxMs = 250;

/** Opens `/metrics`, `/livez` and `/readyz`. Every answer comes from the last known state; none waits for the store. */
export async function openHttp(
  listen: Address,
  parts: {
    readonly metrics: Metrics;
    readonly health: Health;
    readonly monotonicMs: () => number;
  },
  requestMs: number = requestUsualMs,
): Promise<OpenListener> {
  const { metrics, health, monotonicMs } = parts;
  const print = async () => Buffer.from(await metrics.print());
  const reusedPrint = reused(print, monotonicMs);
  const paths = new Map<string, Answer>([
    [
      "/metrics",
      async (_, headers) => {
        const isFresh = headers["cache-control"] === "no-cache";
        const text = await (isFresh ? print() : reusedPrint());
        return { status: 200, type: metrics.contentType, text };
      },
    ],
    ["/livez", () => ({ status: 200, type: plain, text: "ok\n" })],
    ["/readyz", (url) => ready(health, url.searchParams.has("verbose"))],
  ]);
  const server = createServer(
    {
      requestTimeout: requestMs,
      headersTimeout: requestMs,
      keepAliveTimeout: requestMs,
      connectionsCheckingInterval: requestMs / 5,
    },
    (request, response) => void answer(paths, request, response),
  );
  // This also closes the connection of a client that does not read its response.
  server.timeout = 2 * requestMs;
  server.on("clientError", (_, socket) => socket.destroy());
  const probers = boundProbers(server);
  const port = await listening(server, listen, "http.listen");
  return {
    address: printAddress({ host: listen.host, port }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        probers.close();
      }),
  };
}

/**
 * Reuses a text for 20 times the duration of its printing, but at most for `reuseMaxMs`: however many clients scrape,
 * printing takes only a small part of the processor's time, which KMIP needs.
 */
function reused(print: () => Promise<Buffer>, monotonicMs: () => number): () => Promise<Buffer> {
  let text: Promise<Buffer> | undefined;
  let untilMs = Number.POSITIVE_INFINITY;
  return () => {
    const sinceMs = monotonicMs();
    if (text !== undefined && sinceMs < untilMs) return text;
    untilMs = Number.POSITIVE_INFINITY;
    text = print().finally(() => {
      const nowMs = monotonicMs();
      untilMs = nowMs + Math.min(reuseMaxMs, reuseFactor * (nowMs - sinceMs));
    });
    return text;
  };
}

function ready(health: Health, verbose: boolean): Reply {
  const report = health.report();
  const serving = report.services[""];
  const word = serving ? "ok" : "not ready";
  const lines = verbose || !serving ? [word, ...report.lines] : [word];
  return { status: serving ? 200 : 503, type: plain, text: `${lines.map(printable).join("\n")}\n` };
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
    const reply = await Promise.resolve(path(url, request.headers)).catch(() => undefined);
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
