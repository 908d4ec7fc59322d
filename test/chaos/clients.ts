import { createHash } from "node:crypto";
import { ConnectionError, KmipClient, KmipClientError } from "@holdfast/client";
import type { ResponseItem } from "@holdfast/kmip";
import { UnexpectedAnswer, VcenterSession } from "@holdfast/workbench";
import type { KmipTarget } from "../support/kmip-socket.ts";
import type { RegionName, TwoRegions } from "../support/two-regions.ts";
import type { History } from "./history.ts";
import { began, type Moment } from "./moment.ts";

/** A node in the clients' list. */
export interface Endpoint {
  readonly node: string;
  readonly region: RegionName;
  readonly target: KmipTarget;
}

/** How long a client waits for an endpoint before it tries the next one. */
export interface Patience {
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
}

/** The result of a task at one endpoint. */
export type Outcome<Answer> =
  | { readonly kind: "done"; readonly answer: Answer; readonly moment: Moment }
  /** No answer, or "cannot tell": a fault may cause that. */
  | { readonly kind: "failed"; readonly moment: Moment }
  | { readonly kind: "notFound"; readonly moment: Moment }
  /** The object's state does not allow it, or what the request names is not there. */
  | { readonly kind: "denied"; readonly moment: Moment; readonly reason: string };

/** All endpoints of one instance, alternating between the regions. */
export function endpointsOf(both: TwoRegions, instance: string): readonly Endpoint[] {
  return both.nodes.map((node) => {
    const region = both.regionOf(node);
    const target = region.target(instance, region.nodes.indexOf(node));
    return { node: node.name, region: region.name as RegionName, target };
  });
}

/** Refusals of requests that may come too late: the object's State, or the attribute's value, is another one by then. */
export const refusals: ReadonlySet<string> = new Set([
  "PermissionDenied",
  "AttributeInstanceNotFound",
  "AttributeNotFound",
]);
const absent = new Set(["ItemNotFound", "ObjectNotFound"]);

/** Carries out tasks at endpoints and counts the results; each is on its own connection, except for `steady`. */
export class Clients implements AsyncDisposable {
  /** `Create Success`, `Get lost`, … → how often. */
  readonly operations = new Map<string, number>();
  readonly endpoints: readonly Endpoint[];
  readonly #history: History;
  readonly #patience: Patience;
  /** By endpoint, connections that stay open. */
  readonly #open = new Map<Endpoint, Promise<KmipClient>>();
  /** By endpoint, the requests under way on these. */
  readonly #underWay = new Map<Endpoint, number>();
  /** The tasks that have no result yet. */
  readonly #tasks = new Set<{ readonly beganMs: number }>();
  #turn = 0;

  constructor(endpoints: readonly Endpoint[], history: History, patience: Patience) {
    this.endpoints = endpoints;
    this.#history = history;
    this.#patience = patience;
  }

  /** The time up to which the results of all tasks are known. */
  get knownMs(): number {
    return [...this.#tasks].reduce((ms, { beganMs }) => Math.min(ms, beganMs), performance.now());
  }

  /**
   * The next endpoint in turn. If so many clients share the endpoints' open connections, one is left out while half as
   * many requests again as its share are under way: while it hangs, the others ask elsewhere.
   */
  next(clients = Number.POSITIVE_INFINITY): Endpoint {
    const most = Math.ceil((1.5 * clients) / this.endpoints.length);
    const from = (this.#turn + 1) % this.endpoints.length;
    const inTurn = [...this.endpoints.slice(from), ...this.endpoints.slice(0, from)];
    const next = inTurn.find((one) => (this.#underWay.get(one) ?? 0) < most) ?? inTurn[0];
    if (next === undefined) throw new RangeError("no endpoint");
    this.#turn = this.endpoints.indexOf(next);
    return next;
  }

  /** Runs a task with vCenter's own messages. */
  vcenter<Answer>(
    name: string,
    endpoint: Endpoint,
    work: (session: VcenterSession) => Promise<Answer>,
  ): Promise<Outcome<Answer>> {
    const { host, port, ...tls } = endpoint.target;
    const options = { tls, answered: () => undefined };
    return this.#attempt(name, endpoint, async () => {
      await using session = await VcenterSession.begin(`${host}:${port}`, options);
      return await work(session);
    });
  }

  /** Runs a task with a KMIP 1.4 client. */
  plain<Answer>(
    name: string,
    endpoint: Endpoint,
    work: (client: KmipClient) => Promise<Answer>,
    patience: Patience = this.#patience,
  ): Promise<Outcome<Answer>> {
    return this.#attempt(name, endpoint, async () => {
      await using client = await connected(endpoint, patience, 1);
      return await work(client);
    });
  }

  /** The same on one of an endpoint's connections, which stay open. */
  steady<Answer>(
    name: string,
    endpoint: Endpoint,
    work: (client: KmipClient) => Promise<Answer>,
  ): Promise<Outcome<Answer>> {
    this.#count(endpoint, 1);
    const attempt = this.#attempt(name, endpoint, async () => {
      const open = this.#open.get(endpoint) ?? connected(endpoint, this.#patience, steadyMax);
      this.#open.set(endpoint, open);
      const client = await open.catch((error: unknown) => {
        this.#open.delete(endpoint);
        throw error;
      });
      return await work(client);
    });
    return attempt.finally(() => this.#count(endpoint, -1));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const open = await Promise.allSettled(this.#open.values());
    this.#open.clear();
    for (const one of open) if (one.status === "fulfilled") await one.value.close();
  }

  async #attempt<Answer>(
    name: string,
    endpoint: Endpoint,
    work: () => Promise<Answer>,
  ): Promise<Outcome<Answer>> {
    const task = { beganMs: performance.now() };
    this.#tasks.add(task);
    const moment = began(endpoint);
    try {
      const answer = await work();
      this.#answered(`${name} Success`);
      return { kind: "done", answer, moment: moment() };
    } catch (error) {
      const kind = kindOf(error);
      this.#answered(`${name} ${kind}`);
      if (absent.has(kind)) return { kind: "notFound", moment: moment() };
      if (refusals.has(kind)) return { kind: "denied", moment: moment(), reason: kind };
      if (error instanceof ConnectionError || kind === "GeneralFailure") {
        return { kind: "failed", moment: moment() };
      }
      this.#history.violation("wrongAnswer", `${name} at ${endpoint.node}: ${error}`);
      return { kind: "failed", moment: moment() };
    } finally {
      this.#tasks.delete(task);
    }
  }

  #count(endpoint: Endpoint, more: number): void {
    this.#underWay.set(endpoint, (this.#underWay.get(endpoint) ?? 0) + more);
  }

  #answered(what: string): void {
    this.operations.set(what, (this.operations.get(what) ?? 0) + 1);
  }
}

/** As many connections to one endpoint as there may be clients. */
const steadyMax = 64;

function connected(
  { target: { host, port, ...tls } }: Endpoint,
  patience: Patience,
  connectionsMax: number,
): Promise<KmipClient> {
  const endpoints = [`${host}:${port}`];
  return KmipClient.connect({ endpoints, tls, version: "1.4", connectionsMax, ...patience });
}

/** The digest of key bytes, in the form in which vCenter's session returns it. */
export function digestOf(hex: string): string {
  return createHash("sha256").update(Buffer.from(hex, "hex")).digest("hex");
}

/** Whether the server answered that it cannot tell or cannot promise. */
export function isRefused({ status, reason }: ResponseItem): boolean {
  return status !== "Success" && reason === "GeneralFailure";
}

/** Why the server refused; undefined where it did not, or cannot tell. */
export function reasonOf(error: unknown): string | undefined {
  const isAnswer = error instanceof KmipClientError || error instanceof UnexpectedAnswer;
  const reason = isAnswer ? error.reason : undefined;
  return reason === "GeneralFailure" ? undefined : reason;
}

function kindOf(error: unknown): string {
  if (error instanceof ConnectionError) return error.failure;
  if (error instanceof KmipClientError) return error.reason ?? error.status;
  if (error instanceof UnexpectedAnswer) return error.reason ?? "unexpected";
  return error instanceof Error ? error.name : "unexpected";
}
