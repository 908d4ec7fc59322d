import { promises } from "./promises.ts";
import type { Step } from "./recorder.ts";
import { weights } from "./tellings.ts";

/** The events of a short story: at most `limit`, those that matter most, in their order. */
export function chosen(steps: readonly Step[], limit: number): readonly Step[] {
  if (steps.length <= limit) return steps;
  const broken = steps.find(({ breaks }) => breaks !== undefined);
  const again = repeated(steps);
  const weightOf = (step: Step): number => {
    if (broken?.key !== undefined && step.key === broken.key) return 0;
    return step.weight + (again.has(step) ? 1 : 0);
  };
  const taken = new Set<Step>();
  for (const weight of weights) {
    const among = steps.filter((step) => weightOf(step) === weight);
    const room = limit - taken.size;
    if (room <= 0) break;
    // A broken promise is explained by the last events, and must not be lost among unrelated reads.
    const isApart = broken !== undefined && weight >= 3;
    const some = broken === undefined ? spread(among, room) : among.slice(-room);
    if (!isApart) for (const step of some) taken.add(step);
  }
  return steps.filter((step) => taken.has(step));
}

/** How often a short story tells the same kind of answer. */
const sameMax = 3;

/** Answers to clients whose reason was given often enough before. */
function repeated(steps: readonly Step[]): ReadonlySet<Step> {
  const counts = new Map<string, number>();
  return new Set(
    steps.filter(({ kind, why, weight }) => {
      if (kind !== "request" || weight > 2) return false;
      const count = (counts.get(why) ?? 0) + 1;
      counts.set(why, count);
      return count > sameMax;
    }),
  );
}

function spread<Item>(items: readonly Item[], count: number): readonly Item[] {
  if (items.length <= count) return items;
  return Array.from(
    { length: Math.max(0, count) },
    (_, at) => items[Math.floor((at * items.length) / count)] as Item,
  );
}

/** A step, with the reason where it was not given before. */
interface StoryLine {
  readonly at: string;
  readonly who: string;
  readonly text: string;
}

/** The lines of a story: each reason is given once. */
function storyLines(steps: readonly Step[], limit: number): readonly StoryLine[] {
  const given = new Set<string>();
  return chosen(steps, limit).map(({ atMs, who, what, why }) => {
    const isNew = why !== "" && !given.has(why);
    given.add(why);
    const at = `${(atMs / 1_000).toFixed(3)} s`;
    return { at, who, text: isNew ? `${what}. ${why}` : `${what}.` };
  });
}

/** A history in plain English: one event per line, and the promises at its end. */
export function storyText(steps: readonly Step[], limit: number): readonly string[] {
  const lines = storyLines(steps, limit).map(
    ({ at, who, text }) => `${at.padStart(9)}  ${who.padEnd(21)}  ${text}`,
  );
  const left = steps.length - lines.length;
  const omitted =
    left > 0
      ? [`(${left} of ${steps.length} events are left out; --limit ${steps.length} prints all)`]
      : [];
  return [...lines, ...omitted, "", ...promiseLines(steps)];
}

function promiseLines(steps: readonly Step[]): readonly string[] {
  const count = (kind: Step["acknowledged"]) =>
    steps.filter(({ acknowledged }) => acknowledged === kind).length;
  const [shared, alone] = [count("shared"), count("alone")];
  return [
    "Promises:",
    `${String(shared + alone).padStart(6)}  acknowledged changes: ${shared} by both regions, ${alone} by one region alone`,
    ...promises.map(({ id, counted }) => {
      const broken = steps.filter(({ breaks }) => breaks === id).length;
      return `${String(broken).padStart(6)}  ${counted.slice(0, 1).toLowerCase()}${counted.slice(1)}`;
    }),
  ];
}
