import { randomUUID } from "node:crypto";
import type { Agent, Dispatcher } from "undici";
import { type Contract, contract } from "../contract/index.ts";
import type { Reply, Route, RouteRequest } from "../contract/route.ts";
import { AdminProblem, AdminUnreachable } from "./errors.ts";
import { follow } from "./follow.ts";
import { reasonOfCode } from "./reasons.ts";
import { type LooseRequest, originOf, pathOf } from "./request.ts";

/** How a service is reached. */
export interface AdminClientOptions {
  /** `https://HOST:PORT` of one or several nodes; if one does not answer, the next one is asked. */
  readonly urls: readonly string[];
  /** A bearer token, or a function that returns a currently valid one. */
  readonly token: string | (() => string | Promise<string>);
  /** PEM of the authorities that may issue the nodes' certificates; by default the system's. */
  readonly ca?: string;
  /** How long an answer may take; a minute by default. */
  readonly timeoutMs?: number;
  /** Makes idempotency keys; random UUIDs by default. */
  readonly newKey?: () => string;
}

/** How one call is made. */
export interface AdminCallOptions {
  readonly signal?: AbortSignal;
  /** For a POST: the same for every repetition of a call; by default the client makes one. */
  readonly idempotencyKey?: string;
  /** The version (ETag) to change. */
  readonly ifMatch?: string;
  /** The approved request that the call uses. */
  readonly approval?: string;
  /** Nothing is changed: the answer is `{ dryRun: true }`, or the refusal that the change would get. */
  readonly dryRun?: true;
}

/** Operations that give one answer. */
type Plain = {
  [Name in keyof Contract]: Contract[Name] extends { readonly stream: true } ? never : Name;
}[keyof Contract];

/** Operations that answer with a page. */
type Paged = {
  [Name in Plain]: Reply<Contract[Name]> extends { readonly items: readonly unknown[] }
    ? Name
    : never;
}[Plain];

/** Operations that stream. */
type Streamed = Exclude<keyof Contract, Plain>;

type ItemOf<Name extends Paged> =
  Reply<Contract[Name]> extends { readonly items: readonly (infer Item)[] } ? Item : never;

const connectMs = 5000;
const timeoutUsualMs = 60_000;
const answerBytesMax = 64 << 20;

/** A client of the management API, typed by its contract. */
export class AdminClient implements AsyncDisposable {
  readonly #options: AdminClientOptions;
  readonly #origins: readonly string[];
  #agent: Promise<Agent> | undefined;
  readonly #newKey: () => string;
  /** The node that answered last is asked first. */
  #at = 0;

  constructor(options: AdminClientOptions) {
    const { urls, newKey = randomUUID } = options;
    if (urls.length === 0) throw new RangeError("urls: name one node at least");
    this.#options = options;
    this.#origins = urls.map(originOf);
    this.#newKey = newKey;
  }

  /**
   * Carries out one operation. Rejects with an `AdminProblem` if the service refuses, and with an
   * `AdminUnreachable` if no node answers.
   */
  call<Name extends Plain>(
    name: Name,
    request: RouteRequest<Contract[Name]>,
    options?: AdminCallOptions,
  ): Promise<Reply<Contract[Name]>>;
  /** The same for callers that take the operation's name from the contract at run time. */
  call(name: keyof Contract, request: LooseRequest, options?: AdminCallOptions): Promise<unknown>;
  async call(
    name: keyof Contract,
    request: LooseRequest,
    options: AdminCallOptions = {},
  ): Promise<unknown> {
    const route: Route = contract[name];
    const { method } = route;
    const headers: Record<string, string> = { accept: "application/json" };
    if (request.body !== undefined) headers["content-type"] = "application/json";
    if (method === "POST") headers["idempotency-key"] = options.idempotencyKey ?? this.#newKey();
    if (options.ifMatch !== undefined) headers["if-match"] = `"${options.ifMatch}"`;
    if (options.approval !== undefined) headers["approval"] = options.approval;
    if (options.dryRun === true) headers["dry-run"] = "true";
    const { timeoutMs = timeoutUsualMs } = this.#options;
    const timeout = AbortSignal.timeout(timeoutMs);
    const signal =
      options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
    const repeats = method === "GET" || method === "POST";
    const answer = await this.#ask(route, request, headers, signal, repeats);
    const text = await answer.body.text().catch((cause: unknown) => {
      throw unreachable("the answer ended too early", cause);
    });
    return answered(answer, text);
  }

  /** The items of all pages, one after another. */
  async *items<Name extends Paged>(
    name: Name,
    request: RouteRequest<Contract[Name]>,
    options: AdminCallOptions = {},
  ): AsyncGenerator<ItemOf<Name>> {
    const { query, ...rest } = request as LooseRequest;
    let cursor: string | undefined;
    do {
      const asked = { ...rest, query: { ...query, ...(cursor === undefined ? {} : { cursor }) } };
      const page = (await this.call(name as keyof Contract, asked, options)) as {
        readonly items: readonly ItemOf<Name>[];
        readonly next?: string;
      };
      yield* page.items;
      cursor = page.next;
    } while (cursor !== undefined);
  }

  /** Follows events until `signal` is aborted; reconnects and resumes after the last event. */
  follow<Name extends Streamed>(
    name: Name,
    request: RouteRequest<Contract[Name]>,
    signal: AbortSignal,
  ): AsyncGenerator<Reply<Contract[Name]>>;
  /** The same for callers that take the operation's name from the contract at run time. */
  follow(
    name: keyof Contract,
    request: LooseRequest,
    signal: AbortSignal,
  ): AsyncGenerator<Readonly<Record<string, unknown>>>;
  follow(
    name: keyof Contract,
    request: LooseRequest,
    signal: AbortSignal,
  ): AsyncGenerator<Readonly<Record<string, unknown>>> {
    const route: Route = contract[name];
    const connect = async (headers: Readonly<Record<string, string>>) => {
      const answer = await this.#ask(route, request, headers, signal, true);
      if (answer.statusCode === 200) return answer.body;
      const text = await answer.body.text();
      answered(answer, text);
      throw new AdminUnreachable("the answer is not a stream of events");
    };
    return follow({ connect, signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#agent)?.destroy();
  }

  /** Loads the HTTP client when it is needed: a node imports this package for its contract, and calls nobody. */
  #connections(): Promise<Agent> {
    const { ca } = this.#options;
    this.#agent ??= import("./http-client.ts").then(
      ({ Agent: Connections }) =>
        new Connections({
          connect: {
            timeout: connectMs,
            minVersion: "TLSv1.2",
            ...(ca === undefined ? {} : { ca }),
          },
          keepAliveTimeout: 10_000,
          maxResponseSize: answerBytesMax,
        }),
    );
    return this.#agent;
  }

  /** Asks one node after another until one answers; never repeats what may have had an effect. */
  async #ask(
    route: Route,
    request: LooseRequest,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    repeats: boolean,
  ): Promise<Dispatcher.ResponseData> {
    const { token } = this.#options;
    const path = pathOf(route, request);
    const bearer = typeof token === "string" ? token : await token();
    const body = request.body === undefined ? null : JSON.stringify(request.body);
    const faults: string[] = [];
    let last: unknown;
    const connections = await this.#connections();
    for (let tries = 0; tries < this.#origins.length; tries++) {
      const at = (this.#at + tries) % this.#origins.length;
      const origin = this.#origins[at] as string;
      try {
        const answer = await connections.request({
          origin,
          path,
          method: route.method,
          headers: { ...headers, authorization: `Bearer ${bearer}` },
          body,
          signal,
          headersTimeout: 0,
          bodyTimeout: route.stream === true ? streamSilentMs : 0,
        });
        this.#at = at;
        return answer;
      } catch (cause) {
        faults.push(`${origin}: ${faultOf(cause, signal)}`);
        last = cause;
        if (signal.aborted || (!repeats && !neverSent(cause)))
          throw unreachable(faults.join("; "), cause);
      }
    }
    throw unreachable(faults.join("; "), last);
  }
}

/** The service sends a heartbeat every 15 s. */
const streamSilentMs = 45_000;

const beforeSending = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** Whether the connection failed before anything was sent, such as at an untrusted certificate. */
function neverSent(cause: unknown): boolean {
  const code = codeOf(cause);
  return beforeSending.has(code) || /CERT|SIGNATURE|ISSUER/.test(code);
}

function faultOf(cause: unknown, signal: AbortSignal): string {
  if (signal.aborted) {
    const reason: unknown = signal.reason;
    const late = reason instanceof DOMException && reason.name === "TimeoutError";
    return late ? "gave no answer in time" : "cancelled";
  }
  const code = codeOf(cause);
  const known = reasonOfCode(code);
  if (known !== undefined) return known;
  return cause instanceof Error && cause.message !== "" ? cause.message : code;
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string"
    ? cause.code
    : "";
}

function unreachable(message: string, cause?: unknown): AdminUnreachable {
  return new AdminUnreachable(message, cause === undefined ? {} : { cause });
}

function answered({ statusCode, headers }: Dispatcher.ResponseData, text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw unreachable(
      `the service answered ${statusCode} without JSON: is it Holdfast's admin address?`,
    );
  }
  if (typeof value !== "object" || value === null) throw unreachable("the answer is not an object");
  if (statusCode >= 200 && statusCode < 300) return value;
  const seconds = Number(headers["retry-after"]);
  const retry = Number.isInteger(seconds) && seconds > 0 ? seconds : undefined;
  throw new AdminProblem(statusCode, value as Record<string, unknown>, retry);
}
