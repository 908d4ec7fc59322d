import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError, type KmipClient } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { answered } from "./keys.ts";
import { clientOf } from "./load.ts";
import type { NodeProcess } from "./node-process.ts";
import type { Region } from "./region.ts";

/** Waits until all nodes refuse connections (trap 29: only then vCenter tries its next server). */
export async function allRefuse(region: Region, instance: string): Promise<void> {
  await until("all KMIP listeners shut", async () => {
    const tried = region.nodes.map((_, at) => connects(region, instance, at));
    return (await Promise.all(tried)).every((outcome) => outcome === "refused");
  });
}

/** Waits until every node accepts clients. */
export async function allLetIn(region: Region, instance: string): Promise<void> {
  const clients = await Promise.all(region.nodes.map((_, at) => letIn(region, instance, at)));
  await Promise.all(clients.map((client) => client.close()));
}

/** A client of a node; waits while the node lets nobody in, as it does without a lease on a busy machine. */
export function letIn(region: Region, instance: string, at: number): Promise<KmipClient> {
  return answered(() => clientOf(region, instance, at));
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

/** The result of a connection; "cut" is one that arrived while the listener was closing, or got no answer in time. */
async function connects(
  region: Region,
  instance: string,
  at: number,
): Promise<"connected" | "refused" | "cut"> {
  const client = await clientOf(region, instance, at).catch((error: Error) => error);
  if (client instanceof Error) {
    if (/refused/.test(client.message)) return "refused";
    if (client instanceof ConnectionError) return "cut";
    throw client;
  }
  await client.close();
  return "connected";
}
