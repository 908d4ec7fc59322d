import type { TlsCredentials } from "@holdfast/client";
import { ConnectionError, KmipClient, KmipClientError } from "@holdfast/client";
import { answerOf } from "@holdfast/testing";
import type { NodeProcess } from "./node-process.ts";
import { startTwoRegions, type TwoRegions } from "./two-regions.ts";
import { allWell } from "./vitals.ts";

/** A client of one instance at each node. */
export class ClientsOfAll implements AsyncDisposable {
  readonly #clients: ReadonlyMap<string, KmipClient>;

  private constructor(clients: ReadonlyMap<string, KmipClient>) {
    this.#clients = clients;
  }

  static async open(both: TwoRegions, instance: string): Promise<ClientsOfAll> {
    const clients = await Promise.all(
      both.nodes.map(async (node) => [node.name, await clientAt(both, instance, node)] as const),
    );
    return new ClientsOfAll(new Map(clients));
  }

  get all(): readonly KmipClient[] {
    return [...this.#clients.values()];
  }

  /** The client of a node by its name. */
  at(node: string): KmipClient {
    const client = this.#clients.get(node);
    if (client === undefined) throw new Error(`no node ${node}`);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.all.map((client) => client.close()));
  }
}

/** Starts two regions, and, once they are healthy, a client of their first instance at each node. */
export async function startWithClients(
  shape: Parameters<typeof startTwoRegions>[0],
): Promise<{ readonly both: TwoRegions; readonly clients: ClientsOfAll }> {
  const both = await startTwoRegions(shape);
  try {
    await allWell(both);
    return { both, clients: await ClientsOfAll.open(both, shape.instances[0] ?? "") };
  } catch (error) {
    await both[Symbol.asyncDispose]();
    throw error;
  }
}

/** Opens a client of one node, which reconnects by itself. */
async function clientAt(
  both: TwoRegions,
  instance: string,
  node: NodeProcess,
): Promise<KmipClient> {
  const connect = () =>
    KmipClient.connect({
      endpoints: [`${node.host}:${node.kmip}`],
      tls: credentialsOf(both, instance),
      version: "1.4",
      connectionsMax: 4,
      connectTimeoutMs: 30_000,
      requestTimeoutMs: 30_000,
    });
  return answerOf(`a connection to ${node.name}`, connect, isUnanswered);
}

/** Whether there is no answer: no connection, or it ended before. */
function isUnanswered(error: unknown): boolean {
  return error instanceof ConnectionError;
}

/** The credentials of an instance's client, the same at all nodes. */
export function credentialsOf(both: TwoRegions, instance: string): TlsCredentials {
  const { ca, certificate, key } = both.a.target(instance);
  return { ca, certificate, key };
}

/** A client's result: `answered`, a reason with its message, or a failure of the connection. */
export async function told(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "answered";
  } catch (error) {
    if (error instanceof KmipClientError) return `${error.reason}: ${error.resultMessage}`;
    if (error instanceof ConnectionError) return error.failure;
    throw error;
  }
}

/** What `told` says of a node's answer: on a busy machine a node may not answer at once. */
export function answerTo(ask: () => Promise<unknown>): Promise<string> {
  return told(answerOf("an answer", ask, isUnanswered));
}

/** Retries until success, and returns the time; later it rejects with the last failure. */
export async function insist(work: () => Promise<unknown>, withinMs = 300_000): Promise<number> {
  const began = performance.now();
  for (;;) {
    try {
      await work();
      return performance.now() - began;
    } catch (error) {
      if (performance.now() - began > withinMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
