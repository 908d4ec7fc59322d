import { type Answer, Violation } from "./checker.ts";
import type { Wish } from "./client.ts";
import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

/**
 * How often something is asked for: a key-encryption key may have to be opened first, and a change that one region made
 * alone, since a node stays away, comes to the other one once that has a leader again.
 */
const tries = 30;
const againMs = 500;
const nowhere = "00000000-0000-4000-8000-000000000000";

/** Once all faults are over, every node takes part in the lives of two new keys. */
export async function requireWork(world: World): Promise<void> {
  const nodes = world.nodes.filter(({ stopped }) => !stopped);
  await Promise.all([0, 2].map((first) => live(world, nodes, first)));
}

/** The life of a key; each step is asked of another node. */
async function live(world: World, nodes: readonly SimNode[], first: number): Promise<void> {
  let id = nowhere;
  let turn = first;
  const ask = async (wish: Wish, kind: Answer["kind"]): Promise<void> => {
    const node = nodes[turn % nodes.length];
    turn += 1;
    if (node !== undefined) id = await answered(world, node, wish, kind);
  };
  await ask({ kind: "look", id }, "notFound");
  await ask({ kind: "create" }, "done");
  await ask({ kind: "activate", id }, "done");
  await ask({ kind: "revoke", id, compromised: false }, "done");
  await ask({ kind: "destroy", id }, "done");
}

/** Asks a node until it gives the answer that it must give; returns the object's identifier. */
async function answered(
  world: World,
  node: SimNode,
  wish: Wish,
  kind: Answer["kind"],
): Promise<string> {
  let answer: Answer | undefined;
  for (let tried = 0; tried < tries && world.failure === undefined; tried += 1) {
    if (tried > 0) await world.sleep(againMs);
    const reply = await world.request(node, wish);
    answer = reply?.answer;
    if (reply?.answer.kind === kind) return reply.id;
  }
  const told = JSON.stringify(answer ?? "no answer");
  const error = `${wish.kind} at ${node.machine.name} is answered ${told} at the end, although all faults are over`;
  world.fail(new Violation(error));
  return nowhere;
}
