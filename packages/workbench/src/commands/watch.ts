import { setTimeout as sleep } from "node:timers/promises";
import type { DevNode } from "../cluster/plan.ts";
import { inWords, type NodeView, view } from "../cluster/view.ts";

const intervalMs = 500;

/** Checks the nodes repeatedly, and reports changes, until it is stopped. */
export async function watchNodes(
  nodes: readonly DevNode[],
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const before = new Map<string, string>();
  while (!signal.aborted) {
    const views = await Promise.all(nodes.map(async ({ http }) => await view(http)));
    for (const [at, { name }] of nodes.entries()) {
      const now = inWords(views[at] as NodeView);
      const was = before.get(name);
      before.set(name, now);
      if (was !== undefined && was !== now && !signal.aborted) say(`${name}: ${now}`);
    }
    await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
  }
}

/** Waits for a limited time until each region has a leader; returns the leaders by region. */
export async function leaders(
  nodes: readonly DevNode[],
  withinMs: number,
): Promise<ReadonlyMap<string, string>> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const views = await Promise.all(nodes.map(async ({ http }) => await view(http)));
    const found = new Map(
      nodes.flatMap(({ region, name }, at) => (views[at]?.leads ? [[region, name] as const] : [])),
    );
    const regions = new Set(nodes.map(({ region }) => region));
    const elected = views.some(({ leads }) => leads !== undefined);
    if (found.size === regions.size || !elected || performance.now() > deadline) return found;
    await sleep(intervalMs / 5);
  }
}
