import type { AnswerOf } from "../base/contract.ts";
import type { Heard } from "../parts/regions-model.ts";

type Check = AnswerOf<"runChecks">["items"][number];

/** The last look at the checks of a node. */
export interface Look {
  /** Its address. */
  readonly node: string;
  readonly atMs: number;
  /** What it found; absent if this look failed. */
  readonly checks?: readonly Check[];
  /** Why the look failed. */
  readonly error?: string;
}

/** A check that did not pass, and the nodes that say so. */
export interface Finding extends Check {
  readonly nodes: readonly string[];
}

/** What is wrong by the checks of all nodes, the worst first; the same finding of several nodes once. */
export function findingsOf(
  looks: readonly Look[],
  nameOf: (node: string) => string,
): readonly Finding[] {
  const found = new Map<string, Finding>();
  for (const { node, checks = [] } of looks) {
    for (const check of checks) {
      if (check.state === "ok") continue;
      const key = JSON.stringify([check.name, check.state, check.detail, check.mend]);
      const nodes = [...(found.get(key)?.nodes ?? []), nameOf(node)].toSorted();
      found.set(key, { ...check, nodes });
    }
  }
  return [...found.values()].toSorted((one, other) => rank(one) - rank(other));
}

/** When the oldest of the last looks was, in ms; undefined unless every node answers now and passed every check. */
export function wellSince(
  nodes: readonly string[],
  looks: readonly Look[],
  heard: readonly Heard[],
): number | undefined {
  const well = nodes.flatMap((node) => {
    const look = looks.find((one) => one.node === node);
    const answers = heard.some((one) => one.node === node && one.status !== undefined);
    const passed = look?.checks?.every(({ state }) => state === "ok") === true;
    return look !== undefined && answers && passed ? [look.atMs] : [];
  });
  return nodes.length > 0 && well.length === nodes.length ? Math.min(...well) : undefined;
}

function rank({ state }: Check): number {
  return state === "failed" ? 0 : 1;
}
