import type { State } from "@holdfast/engine";
import { type Answer, Violation } from "./checker.ts";
import type { Reply, Wish } from "./client.ts";
import { isUnsure } from "./operation-log.ts";

/** A node that is asked. */
interface Node {
  readonly machine: { readonly name: string };
  readonly stopped: boolean;
}

/** Where the work is done. */
export interface Workplace<Asked extends Node> {
  readonly nodes: readonly Asked[];
  readonly failure: unknown;
  sleep(ms: number): Promise<void>;
  request(node: Asked, wish: Wish): Promise<Pick<Reply, "answer" | "id"> | undefined>;
  fail(error: unknown): void;
}

/**
 * How often something is asked for: a key-encryption key may have to be opened first, and a change that one region made
 * alone, since a node stays away, comes to the other one once that has a leader again.
 */
const tries = 30;
const againMs = 500;
const nowhere = "00000000-0000-4000-8000-000000000000";

/** The State after a change that is refused the second time. */
const statesAfter: Readonly<Partial<Record<Wish["kind"], State>>> = {
  revoke: "Deactivated",
  destroy: "Destroyed",
};

/** Once all faults are over, every node takes part in the lives of two new keys. */
export async function requireWork<Asked extends Node>(world: Workplace<Asked>): Promise<void> {
  const nodes = world.nodes.filter(({ stopped }) => !stopped);
  await Promise.all([0, 2].map((first) => live(world, nodes, first)));
}

/** The life of a key; each step is asked of another node. */
async function live<Asked extends Node>(
  world: Workplace<Asked>,
  nodes: readonly Asked[],
  first: number,
): Promise<void> {
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

/**
 * Asks a node until it gives the answer that it must give; returns the object's identifier. A try of which nobody can tell
 * whether it was done may have been done: then the next one is refused, and the node must show the State that it left.
 */
async function answered<Asked extends Node>(
  world: Workplace<Asked>,
  node: Asked,
  wish: Wish,
  kind: Answer["kind"],
): Promise<string> {
  let answer: Answer | undefined;
  let mayBeDone = false;
  for (let tried = 0; tried < tries && world.failure === undefined; tried += 1) {
    if (tried > 0) await world.sleep(againMs);
    const reply = await world.request(node, wish);
    answer = reply?.answer;
    if (reply?.answer.kind === kind) return reply.id;
    if (isUnsure(answer)) mayBeDone = true;
    else if (mayBeDone && "id" in wish && (await isDone(world, node, wish))) return wish.id;
  }
  const told = JSON.stringify(answer ?? "no answer");
  const error = `${wish.kind} at ${node.machine.name} is answered ${told} at the end, although all faults are over`;
  world.fail(new Violation(error));
  return nowhere;
}

/** Whether a node shows an object in the State that a change leaves. */
async function isDone<Asked extends Node>(
  world: Workplace<Asked>,
  node: Asked,
  { kind, id }: Extract<Wish, { readonly id: string }>,
): Promise<boolean> {
  const reply = await world.request(node, { kind: "look", id });
  return reply?.answer.kind === "read" && reply.answer.state === statesAfter[kind];
}
