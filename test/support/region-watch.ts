import { setTimeout as sleep } from "node:timers/promises";
import { until } from "@holdfast/testing";
import { answerBoundMs, clientOf } from "./load.ts";
import type { NodeProcess } from "./node-process.ts";
import type { Region } from "./region.ts";

/** Waits until nobody can connect to any node (trap 29: vCenter goes on to its next server only then). */
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

/** Waits until every node lets clients in. */
export async function allLetIn(region: Region, instance: string): Promise<void> {
  await until("all KMIP listeners open", async () => {
    const tried = region.nodes.map((_, at) => connects(region, instance, at));
    return (await Promise.all(tried)).every((outcome) => outcome === "connected");
  });
}

/** Waits until nodes say that their lease is of this kind. */
export async function leaseIs(nodes: readonly NodeProcess[], state: string): Promise<void> {
  const row = `holdfast_store_lease{state="${state}"} 1`;
  await until(`lease ${state}`, async () => {
    const metrics = await Promise.all(nodes.map((node) => node.metrics()));
    return metrics.every((text) => text.includes(row));
  });
}

/** Runs `work` again and again for a time. */
export async function during(forMs: number, work: () => Promise<void>): Promise<void> {
  const end = performance.now() + forMs;
  while (performance.now() < end) {
    await work();
    await sleep(50);
  }
}

/** A time as tests print it. */
export function ms(time: number): string {
  return `${Math.round(time)} ms`;
}

/** What becomes of a connection; "cut" is one that came while the listener was shutting. */
async function connects(
  region: Region,
  instance: string,
  at: number,
): Promise<"connected" | "refused" | "cut"> {
  const client = await clientOf(region, instance, at).catch((error: Error) => error);
  if (client instanceof Error) {
    if (/refused/.test(client.message)) return "refused";
    if (/reset/.test(client.message)) return "cut";
    throw client;
  }
  await client.close();
  return "connected";
}
