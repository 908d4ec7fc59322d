import { createHash } from "node:crypto";
import { ConnectionError, KmipClient, KmipClientError } from "@holdfast/client";
import type { ResponseItem } from "@holdfast/kmip";
import { UnexpectedAnswer, VcenterSession } from "@holdfast/workbench";
import type { KmipTarget } from "../support/kmip-socket.ts";
import type { RegionName, TwoRegions } from "../support/two-regions.ts";
import type { History, Moment } from "./history.ts";

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
  /** The object's state does not allow it. */
  | { readonly kind: "denied"; readonly moment: Moment };

/** All endpoints of one instance, alternating between the regions. */
export function endpointsOf(both: TwoRegions, instance: string): readonly Endpoint[] {
  return both.nodes.map((node) => {
    const region = both.regionOf(node);
    const target = region.target(instance, region.nodes.indexOf(node));
    return { node: node.name, region: region.name as RegionName, target };
  });
}

/** Carries out tasks at endpoints, each on its own connection, and counts the results. */
export class Clients {
  /** `Create Success`, `Get lost`, … → how often. */
  readonly operations = new Map<string, number>();
  readonly endpoints: readonly Endpoint[];
  readonly #history: History;
  readonly #patience: Patience;
  #turn = 0;

  constructor(endpoints: readonly Endpoint[], history: History, patience: Patience) {
    this.endpoints = endpoints;
    this.#history = history;
    this.#patience = patience;
  }

  /** The next endpoint in turn. */
  next(): Endpoint {
    this.#turn = (this.#turn + 1) % this.endpoints.length;
    const endpoint = this.endpoints[this.#turn];
    if (endpoint === undefined) throw new RangeError("no endpoint");
    return endpoint;
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
    const { host, port, ...tls } = endpoint.target;
    return this.#attempt(name, endpoint, async () => {
      await using client = await KmipClient.connect({
        endpoints: [`${host}:${port}`],
        tls,
        version: "1.4",
        connectionsMax: 1,
        ...patience,
      });
      return await work(client);
    });
  }

  async #attempt<Answer>(
    name: string,
    endpoint: Endpoint,
    work: () => Promise<Answer>,
  ): Promise<Outcome<Answer>> {
    const beganMs = performance.now();
    const moment = () => {
      const { node, region } = endpoint;
      return { node, region, beganMs, endedMs: performance.now() };
    };
    try {
      const answer = await work();
      this.#count(`${name} Success`);
      return { kind: "done", answer, moment: moment() };
    } catch (error) {
      const kind = kindOf(error);
      this.#count(`${name} ${kind}`);
      if (kind === "ItemNotFound") return { kind: "notFound", moment: moment() };
      if (kind === "PermissionDenied") return { kind: "denied", moment: moment() };
      if (error instanceof ConnectionError || kind === "GeneralFailure") {
        return { kind: "failed", moment: moment() };
      }
      this.#history.violation("wrongAnswer", `${name} at ${endpoint.node}: ${error}`);
      return { kind: "failed", moment: moment() };
    }
  }

  #count(what: string): void {
    this.operations.set(what, (this.operations.get(what) ?? 0) + 1);
  }
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
