import type { ManagedObject } from "@holdfast/engine";
import type { Flaw } from "./flaws.ts";
import { idle, settled } from "./scheduler.ts";
import { type Plan, SmallWorld } from "./small-world.ts";

/** The result of an enumeration. */
export interface Enumerated {
  /** Different states that were reached. */
  readonly states: number;
  /** The number of orders of all steps, including those through the same states. */
  readonly interleavings: bigint;
  readonly executions: number;
  /** True if `statesMax` was reached before the end. */
  readonly cutShort: boolean;
  readonly failure: unknown;
  /** The steps that led to the failure. */
  readonly trace: readonly string[];
}

/** The successors of each visited state. */
type Graph = Map<string, string[]>;

const stepsMax = 200;

/**
 * Tries every order of the steps of a plan, depth first: each execution follows a prefix of choices and then always
 * takes the first step. It stops at a known state: an actor depends only on what it was told.
 */
export async function enumerate(
  plan: Plan,
  { flaw, statesMax = Number.POSITIVE_INFINITY }: { flaw?: Flaw; statesMax?: number } = {},
): Promise<Enumerated> {
  const graph: Graph = new Map();
  const key = await new SmallWorld(undefined).make();
  const open: (readonly number[])[] = [[]];
  let executions = 0;
  for (;;) {
    const prefix = open.pop();
    if (prefix === undefined || graph.size >= statesMax) {
      const cutShort = prefix !== undefined;
      return { ...summary(graph, executions), cutShort, failure: undefined, trace: [] };
    }
    executions += 1;
    const failed = await execute({ plan, flaw, key }, prefix, graph, open);
    if (failed !== undefined) return { ...summary(graph, executions), cutShort: false, ...failed };
  }
}

interface Start {
  readonly plan: Plan;
  readonly flaw: Flaw | undefined;
  readonly key: ManagedObject;
}

interface Failed {
  readonly failure: unknown;
  readonly trace: readonly string[];
}

/** Follows the prefix, and then always takes the first step, up to a known state. */
async function execute(
  { plan, flaw, key }: Start,
  prefix: readonly number[],
  graph: Graph,
  open: (readonly number[])[],
): Promise<Failed | undefined> {
  const world = new SmallWorld(flaw);
  await idle();
  await world.begin(plan, key);
  const path: Path = { world, graph, open, prefix, chosen: [], from: undefined };
  const trace: string[] = [];
  while (path.chosen.length < stepsMax) {
    // What lies before the last choice was inspected by the execution that made this prefix.
    const isNew = path.chosen.length >= prefix.length - 1;
    const failure = isNew ? await failureIn(world) : world.failure;
    if (failure !== undefined) return { failure, trace: [...trace, ...world.answers] };
    if (isNew && (await isKnown(path))) return undefined;
    const choice = prefix[path.chosen.length] ?? 0;
    const next = world.gate.steps[choice];
    if (next === undefined) return undefined;
    path.chosen.push(choice);
    trace.push(`${next.actor}: ${next.label}`);
    world.gate.take(next);
    await settled();
  }
  return { failure: new Error(`not at its end after ${stepsMax} steps`), trace };
}

/** The position of an execution. */
interface Path {
  readonly world: SmallWorld;
  readonly graph: Graph;
  readonly open: (readonly number[])[];
  readonly prefix: readonly number[];
  readonly chosen: number[];
  /** The state before the last step. */
  from: string | undefined;
}

/** Records the current state as a successor of the last one; returns whether it is known. */
async function isKnown(path: Path): Promise<boolean> {
  const { world, graph, open, prefix, chosen, from } = path;
  const state = await world.state();
  if (from !== undefined) graph.get(from)?.push(state);
  path.from = state;
  if (chosen.length < prefix.length) return false;
  if (graph.has(state)) return true;
  graph.set(state, []);
  for (let other = 1; other < world.gate.steps.length; other += 1) open.push([...chosen, other]);
  return false;
}

async function failureIn(world: SmallWorld): Promise<unknown> {
  if (world.failure !== undefined) return world.failure;
  try {
    await world.inspect();
    return undefined;
  } catch (error) {
    return error;
  }
}

function summary(graph: Graph, executions: number) {
  const counts = new Map<string, bigint>();
  const [root] = graph.keys();
  return {
    states: graph.size,
    executions,
    interleavings: root === undefined ? 0n : ways(root, graph, counts),
  };
}

/** How many orders of steps lead from a state to an end; none of them reaches a state twice. */
function ways(state: string, graph: Graph, counts: Map<string, bigint>): bigint {
  const known = counts.get(state);
  if (known !== undefined) return known;
  const next = graph.get(state) ?? [];
  const count =
    next.length === 0 ? 1n : next.reduce((sum, to) => sum + ways(to, graph, counts), 0n);
  counts.set(state, count);
  return count;
}
