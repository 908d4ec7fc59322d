import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { badBody, errorBody, Refusal } from "@holdfast/server/key-protect-refusals";
import { type Answer, callerOf, headerOf, mayDo } from "./call.ts";
import { type Command, carryOut, type Seen } from "./control.ts";
import { type Fault, Faults } from "./faults.ts";
import { iamError, issueToken, subjectOf } from "./iam.ts";
import { type Route, routeOf } from "./routes.ts";
import { readWorld, worldFile, writeWorld } from "./world.ts";

/**
 * An IBM key manager as its clients see it: IAM and Key Protect or HPCS over TLS, and another listener for commands of
 * tests. Its data are in a file, so that it can be killed and restarted.
 */
const [folder = ".", ports = "0,0,0"] = process.argv.slice(2);
const file = join(folder, worldFile);
const world = readWorld(file);
const faults = new Faults();
const seen: Seen = { calls: [], inFlight: 0, mostInFlight: 0 };

/** An answer that may have a raw body. */
interface Reply extends Answer {
  readonly raw?: string;
}

type Handle = (request: IncomingMessage, body: string) => Promise<Reply>;

async function iam(request: IncomingMessage, body: string): Promise<Reply> {
  if (request.method !== "POST" || !/^\/(identity|oidc)\/token$/.test(request.url ?? "")) {
    return { status: 404, body: iamError("BXNIM0500E", "Not found") };
  }
  return issueToken(world, new URLSearchParams(body));
}

async function kms(request: IncomingMessage, body: string, route?: Route): Promise<Reply> {
  const { headers } = request;
  const url = urlOf(request);
  const tokens = { subject: (token: string, atMs: number) => subjectOf(world, token, atMs) };
  const caller = callerOf(world, headers, tokens);
  if (route === undefined) throw new Refusal(404, "Path could not be found");
  if (world.kind === "hpcs" && !world.settings.initialised) {
    throw new Refusal(503, "Crypto units are not initialised");
  }
  if (!mayDo(caller.role, route.role)) {
    throw new Refusal(403, "The user does not have access to the specified resource");
  }
  const call = { world, path: route.path, query: url.searchParams, headers, caller };
  const answer = route.handle({ ...call, body: parse(body) });
  if (request.method !== "GET" && request.method !== "HEAD") writeWorld(file, world);
  return answer;
}

/** A listener of IAM or of the key manager, with faults. */
function faulty(at: "kms" | "iam") {
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await text(request).catch(() => "");
    const route = at === "kms" ? routeOf(request.method ?? "", urlOf(request)) : undefined;
    const action = at === "iam" ? "token" : (route?.action ?? "unknown");
    const serve: Handle = at === "iam" ? iam : (asked, said) => kms(asked, said, route);
    const call = seenCall(at, action, request);
    const over = leaving();
    response.once("close", over);
    const fault = faults.take(at, action);
    const reply = await replyOf(fault, at, () => answerOf(serve, request, body));
    seen.calls.push({ ...call, status: reply?.status ?? 0 });
    if (reply !== undefined) over();
    if (fault?.cut !== undefined) request.socket.destroy();
    else if (reply !== undefined) send(response, reply, call.correlationId);
  };
}

/** A call ends before its answer is sent, so that the connection's next call does not overlap. */
function leaving(): () => void {
  let left = false;
  return () => {
    if (!left) seen.inFlight -= 1;
    left = true;
  };
}

function seenCall(at: "kms" | "iam", action: string, request: IncomingMessage) {
  seen.inFlight += 1;
  seen.mostInFlight = Math.max(seen.mostInFlight, seen.inFlight);
  const correlationId = headerOf(request, "correlation-id") ?? randomUUID();
  const keyRing = headerOf(request, "x-kms-key-ring");
  return { at, action, correlationId, ...(keyRing !== undefined && { keyRing }) };
}

/** The reply; undefined if nothing is done and answered. */
async function replyOf(
  fault: Fault | undefined,
  at: "kms" | "iam",
  serve: () => Promise<Reply>,
): Promise<Reply | undefined> {
  if (fault?.delayMs !== undefined) await sleep(fault.delayMs);
  if (fault?.hang === true || fault?.cut === "before") return undefined;
  return fault?.status === undefined ? await serve() : broken(at, fault);
}

async function answerOf(serve: Handle, request: IncomingMessage, body: string): Promise<Reply> {
  try {
    return await serve(request, body);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { status: error.status, body: errorBody(error.status, error.message, error.text) };
  }
}

/** The answer of a fault, instead of carrying out the call. */
function broken(at: "kms" | "iam", { status = 500, code, retryAfter, body }: Fault): Reply {
  const headers = retryAfter === undefined ? {} : { "retry-after": retryAfter };
  if (body === "none") return { status, headers };
  if (body === "html") return { status, headers, raw: "<html><body>proxy</body></html>" };
  if (body === "huge") return { status, headers, raw: `"${"x".repeat(64 * 1024 * 1024)}"` };
  if (body === "truncated") return { status, headers, raw: '{"metadata":{"collectionTo' };
  const said = "Switched on by a test";
  const content =
    at === "iam"
      ? iamError(code ?? "BXNIM0001E", said)
      : errorBody(status, said, code === undefined ? {} : { code });
  return { status, headers, body: content };
}

function send(response: ServerResponse, reply: Reply, correlationId: string): void {
  const { status, body, headers, raw } = reply;
  const content = raw ?? (body === undefined ? "" : JSON.stringify(body));
  const type = raw?.startsWith("<") ? "text/html" : "application/json";
  response.writeHead(status, {
    ...(content !== "" && { "content-type": type }),
    "correlation-id": correlationId,
    ...headers,
  });
  response.end(content);
}

async function control(request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const said = carryOut(JSON.parse(await text(request)) as Command, { world, faults, seen });
    writeWorld(file, world);
    response.end(JSON.stringify({ said }));
  } catch (error) {
    response.writeHead(400).end(JSON.stringify({ error: String(error) }));
  }
}

function urlOf(request: IncomingMessage): URL {
  return new URL(request.url ?? "/", "https://key-manager");
}

function parse(body: string): unknown {
  if (body === "") return undefined;
  try {
    return JSON.parse(body) as unknown;
  } catch {
    throw badBody("Body could not be read", "Invalid body data was passed");
  }
}

const tls = {
  cert: readFileSync(join(folder, "tls.crt")),
  key: readFileSync(join(folder, "tls.key")),
  minVersion: "TLSv1.2",
} as const;
const listeners = [
  createTlsServer(tls, (request, response) => void faulty("kms")(request, response)),
  createTlsServer(tls, (request, response) => void faulty("iam")(request, response)),
  createServer((request, response) => void control(request, response)),
];

writeWorld(file, world);
await Promise.all(
  ports.split(",").map(
    (port, at) =>
      new Promise<void>((resolve, reject) => {
        listeners[at]?.once("error", reject);
        listeners[at]?.listen(Number(port), "127.0.0.1", resolve);
      }),
  ),
);
process.on("disconnect", () => process.exit());
process.on("SIGINT", () => undefined);
process.send?.("ready");
