import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createRequire, stripTypeScriptTypes } from "node:module";
import { dirname, join } from "node:path";
import { dashboards } from "@holdfast/server";
import { type Address, printAddress, reasonOf } from "@holdfast/server/base";

/** Allows nothing from other hosts, and nothing inline. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const asked = /^\/api\/v1\/(query|query_range)\?/;
const timeoutMs = 30_000;

interface Part {
  readonly type: string;
  readonly text: string;
}

/** Serves the page that draws the dashboards, and passes its queries on to Prometheus. */
export class PageServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #parts = partsOf();
  readonly #prometheus: string;
  readonly #host: string;

  private constructor(page: Address, prometheus: Address) {
    this.#host = printAddress(page);
    this.#prometheus = `http://${printAddress(prometheus)}`;
    this.#server = createServer((request, response) => {
      void this.#answer(request, response).catch((error: unknown) => {
        if (response.headersSent) response.destroy();
        else json(response, 502, { status: "error", error: reasonOf(error) });
      });
    });
  }

  /** Listens at a loopback address. */
  static async open(page: Address, prometheus: Address): Promise<PageServer> {
    const opened = new PageServer(page, prometheus);
    opened.#server.listen({ host: page.host, port: page.port });
    await once(opened.#server, "listening");
    return opened;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer({ method, headers, url = "/" }: IncomingMessage, response: ServerResponse) {
    // A page of another site must not reach this server under a host name that points here (DNS rebinding).
    if (headers.host !== this.#host) return say(response, 421, `ask http://${this.#host}/`);
    if (method !== "GET") return say(response, 405, "GET only");
    if (asked.test(url)) return await this.#passOn(url, response);
    const part = this.#parts.get(url.split("?")[0] ?? "/");
    if (part === undefined) return say(response, 404, "not found");
    send(response, 200, part);
  }

  async #passOn(url: string, response: ServerResponse): Promise<void> {
    const answer = await fetch(`${this.#prometheus}${url}`, {
      signal: AbortSignal.timeout(timeoutMs),
    });
    send(response, answer.status, { type: "application/json", text: await answer.text() });
  }
}

/** All parts of the page, by path. Types are stripped from its TypeScript here, so there is no build step. */
function partsOf(): ReadonlyMap<string, Part> {
  const page = (name: string) => readFileSync(join(import.meta.dirname, "page", name), "utf8");
  const uplot = dirname(createRequire(import.meta.url).resolve("uplot"));
  const library = (name: string) => readFileSync(join(uplot, name), "utf8");
  const scripts = ["main.ts", "draw.ts", "prometheus.ts", "words.ts"].map(
    (name) => [`/${name}`, script(stripped(page(name)))] as const,
  );
  return new Map([
    ["/", { type: "text/html", text: page("index.html") }],
    ["/page.css", { type: "text/css", text: page("page.css") }],
    ["/uplot.css", { type: "text/css", text: library("uPlot.min.css") }],
    ["/uplot.js", script(library("uPlot.esm.js"))],
    ["/dashboards.json", { type: "application/json", text: JSON.stringify(dashboards) }],
    ...scripts,
  ]);
}

function script(text: string): Part {
  return { type: "text/javascript", text };
}

function stripped(text: string): string {
  return stripTypeScriptTypes(text).replace('from "uplot"', 'from "/uplot.js"');
}

function say(response: ServerResponse, status: number, text: string): void {
  send(response, status, { type: "text/plain", text: `${text}\n` });
}

function json(response: ServerResponse, status: number, value: unknown): void {
  send(response, status, { type: "application/json", text: JSON.stringify(value) });
}

function send(response: ServerResponse, status: number, { type, text }: Part): void {
  response.writeHead(status, {
    "content-type": `${type}; charset=utf-8`,
    "content-security-policy": policy,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
  });
  response.end(text);
}
