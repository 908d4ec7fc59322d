import type { IncomingMessage, ServerResponse } from "node:http";
import { request as ask } from "node:https";
import { StandInVcenter } from "../../packages/server/src/testing/vcenter.ts";

/** What the client tells a page: its library reads it when it is loaded. */
interface Told {
  /** The object of the view; undefined in a view of none. */
  object: string | undefined;
  theme: "light" | "dark";
  locale: string;
  /** The session's token; undefined if the client has none. */
  token: string | undefined;
}

/** Where the proxy has the plug-in's server; the real one's paths have the same form. */
const proxied = "/plugins/org.example.holdfast~0.1.0~1/kms-a1.example-8443/";

/**
 * A stand-in for vCenter with its vSphere Client: a page that frames the plug-in, a reverse proxy below a path, the
 * client's library, and the hand-over of sessions. It is made from documents, and was never compared with a real one.
 */
export class VsphereClient implements AsyncDisposable {
  readonly vcenter: StandInVcenter;
  readonly told: Told = { object: undefined, theme: "light", locale: "en-US", token: undefined };
  /** The headers of requests that the proxy passed on, with their paths. */
  readonly passed: { readonly path: string; readonly headers: IncomingMessage["headers"] }[] = [];
  /** The host and port of the plug-in's server, and the authority of its certificate. */
  server: { readonly host: string; readonly port: number; readonly ca: string } | undefined;

  private constructor(vcenter: StandInVcenter) {
    this.vcenter = vcenter;
  }

  static async start(): Promise<VsphereClient> {
    const holder: { client?: VsphereClient } = {};
    const vcenter = await StandInVcenter.start((request, response) =>
      holder.client?.serve(request, response),
    );
    holder.client = new VsphereClient(vcenter);
    return holder.client;
  }

  /** The address of the client with the plug-in's page in a frame. */
  addressOf(uri: string): string {
    return `${this.vcenter.address}/ui/?${new URLSearchParams({ uri })}`;
  }

  /** The address of a file of the plug-in as the browser sees it. */
  proxiedAddressOf(uri: string): string {
    return `${this.vcenter.address}${proxied}console/${uri}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.vcenter[Symbol.asyncDispose]();
  }

  serve(request: IncomingMessage, response: ServerResponse): void {
    const { url = "" } = request;
    const { pathname, searchParams } = new URL(url, this.vcenter.address);
    if (pathname === "/ui/") {
      const uri = `${proxied}console/${searchParams.get("uri") ?? ""}`;
      send(response, "text/html; charset=utf-8", clientPage(uri));
    } else if (pathname === "/api/ui/htmlClientSdk.js") {
      send(response, "text/javascript; charset=utf-8", libraryOf(this.told));
    } else if (url.startsWith(proxied)) {
      this.#pass(request, response, `/${url.slice(proxied.length)}`);
    } else {
      response.writeHead(404).end();
    }
  }

  #pass(request: IncomingMessage, response: ServerResponse, path: string): void {
    const { server } = this;
    if (server === undefined) {
      response.writeHead(502).end();
      return;
    }
    const { host, port, ca } = server;
    const { headers, method } = request;
    this.passed.push({ path, headers });
    const own = { ...headers, host: `${host}:${port}` };
    const forth = ask({ host, port, ca, path, method, headers: own, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    forth.on("error", () => response.destroy());
    request.pipe(forth);
  }
}

function send(response: ServerResponse, type: string, body: string): void {
  response.writeHead(200, { "content-type": type, "cache-control": "no-store" });
  response.end(body);
}

function clientPage(uri: string): string {
  return [
    '<!doctype html><html lang="en"><title>vSphere Client</title>',
    "<style>html,body,iframe{margin:0;width:100%;height:100%;border:0}</style>",
    `<iframe title="Holdfast" src="${uri}"></iframe></html>`,
  ].join("");
}

/** The members of the client's library that plug-ins may use, with what it tells; `standIn` is for tests. */
function libraryOf(told: Told): string {
  return `(() => {
  const told = ${JSON.stringify(told)};
  const heard = { theme: [], refresh: [] };
  let ready = false;
  const needsReady = () => { if (!ready) throw new Error("initialize was not called"); };
  window.htmlClientSdk = {
    initialize: (call) => setTimeout(() => { ready = true; call(); }),
    isInitialized: () => ready,
    getProxiedPluginServerOrigin: () => location.origin + ${JSON.stringify(proxied.slice(0, -1))},
    app: {
      getContextObjects: () => { needsReady(); return told.object ? [{ id: told.object }] : []; },
      getSessionInfo: (call) => {
        needsReady();
        setTimeout(() => call(told.token ? { sessionToken: told.token, nodeId: "n" } : null));
      },
      getClientInfo: () => ({ type: "HTML", version: "8.0.2" }),
      getClientLocale: () => told.locale,
      getTheme: () => ({ name: told.theme }),
      getNavigationData: () => null,
    },
    event: {
      onGlobalRefresh: (call) => heard.refresh.push(call),
      onThemeChanged: (call) => heard.theme.push(call),
    },
    standIn: {
      refresh: () => { for (const call of heard.refresh) call(); },
      theme: (name) => { for (const call of heard.theme) call({ name }); },
    },
  };
})();`;
}
