import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

/** A question that got no answer takes longer. */
export const silentMs = 400;

/** Whether a node that may write can ask the other region now: one of its nodes answers, from a store that it may use. */
export function reaches({ network, nodes }: World, { machine, region, own }: SimNode): boolean {
  if (own?.state() !== "full") return false;
  const { name } = machine;
  return nodes.some((other) => {
    const to = other.machine.name;
    const answers = other.service !== undefined && !other.machine.frozen && !other.isElsewhere;
    const meets = network.open(name, to) && network.open(to, name);
    return other.region !== region && answers && meets && other.own?.state() === "full";
  });
}
