import { setTimeout as sleep } from "node:timers/promises";
import type { KmipClient } from "@holdfast/client";
import { answerOf, until } from "@holdfast/testing";
import { answerBoundMs, clientOf } from "./load.ts";
import type { NodeProcess } from "./node-process.ts";
import type { Region } from "./region.ts";

/** What a connection gets at a listener that is closing. */
const cut = /reset|closed the connection/;
/** What a connection gets at a listener that is closed, or is closing. */
const shut = new RegExp(`refused|${cut.source}`);

/** Waits until all nodes refuse connections (trap 29: only then vCenter tries its next server). */
export async function allRefuse(region: Region, instance: string): Promise<void> {
  await until(
    "all KMIP listeners shut",
    async () => {
      const tried = region.nodes.map((_, at) => connects(region, instance, at));
      return (await Promise.all(tried)).every((outcome) => outcome === "refused");
    },
    answerBoundMs,
  );
}

/** Waits until every node accepts clients. */
export async function allLetIn(region: Region, instance: string): Promise<void> {
  const clients = await Promise.all(region.nodes.map((_, at) => letIn(region, instance, at)));
  await Promise.all(clients.map((client) => client.close()));
}

/** A client of a node; waits while the node lets nobody in, as it does without a lease on a busy machine. */
export function letIn(region: Region, instance: string, at: number): Promise<KmipClient> {
  return answerOf(
    "the KMIP listener open",
    () => clientOf(region, instance, at),
    (error) => error instanceof Error && shut.test(error.message),
  );
}

/** Waits until nodes report this kind of lease. */
export async function leaseIs(nodes: readonly NodeProcess[], state: string): Promise<void> {
  const row = `holdfast_store_lease{state="${state}"} 1`;
  await until(`lease ${state}`, async () => {
    const metrics = await Promise.all(nodes.map((node) => node.metrics()));
    return metrics.every((text) => text.includes(row));
  });
}

/** Repeats `work` for some time. */
export async function during(forMs: number, work: () => Promise<void>): Promise<void> {
  const end = performance.now() + forMs;
  while (performance.now() < end) {
    await work();
    await sleep(50);
  }
}

/** A time in the form that tests print. */
export function ms(time: number): string {
  return `${Math.round(time)} ms`;
}

/** The result of a connection; "cut" is one that arrived while the listener was closing. */
async function connects(
  region: Region,
  instance: string,
  at: number,
): Promise<"connected" | "refused" | "cut"> {
  const client = await clientOf(region, instance, at).catch((error: Error) => error);
  if (client instanceof Error) {
    if (/refused/.test(client.message)) return "refused";
    if (cut.test(client.message)) return "cut";
    throw client;
  }
  await client.close();
  return "connected";
}
