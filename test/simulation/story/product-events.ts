import type { Event } from "@holdfast/engine";
import type { StoryEvent } from "./events.ts";

/** The story's event for each event of the product; a type without a row is left out. */
const rows: {
  readonly [Type in Event["type"]]?: (
    node: string,
    event: Extract<Event, { readonly type: Type }>,
  ) => StoryEvent | undefined;
} = {
  serving: (node, { from, writes, reason }) => {
    const what = { from, writes, reason, again: false };
    return { kind: "serving", node, ...what };
  },
  peer: (node, { region, state }) => ({ kind: "peer", node, region, state }),
  push: (node, { records, result }) => ({ kind: "push", node, records, result }),
  join: (node, { region, result }) =>
    result === "same" ? undefined : { kind: "join", node, region, result },
  leader: (node, { state, epoch }) => ({ kind: "leader", node, state, epoch }),
  agreement: (node, { result }) => ({ kind: "agreement", node, result }),
  duty: (node, { ok, duty, cause }) =>
    ok ? undefined : { kind: "duty", node, duty, cause: reasonOf(cause) },
  warning: (node, { message }) => ({ kind: "warning", node, message }),
};

/** The story's event for an event of a node; undefined if the story leaves it out. */
export function storyEventOf(node: string, event: Event): StoryEvent | undefined {
  const row = rows[event.type] as ((at: string, of: Event) => StoryEvent | undefined) | undefined;
  return row?.(node, event);
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
