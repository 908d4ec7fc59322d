import { check, type Verdict } from "./checker.ts";
import { type Common, commonModel, textOfCommon } from "./common-model.ts";
import {
  type ClientHistory,
  isChange,
  mayBeMade,
  type Operation,
  type StoreEvent,
} from "./operation.ts";
import { type Copy, regionModel, textOfCopy } from "./region-model.ts";
import { textOfValues } from "./step.ts";
import { type Placed, type View, viewsOf } from "./views.ts";

/** What a history came to. */
export interface Judgement {
  readonly objects: number;
  readonly operations: number;
  /** One line for each object and place that no order explains. */
  readonly violations: readonly string[];
  /** One line for each that was too large to decide. */
  readonly undecided: readonly string[];
}

/** Changes that a message tells of. */
const toldMax = 4;
const statesMax = 3;

/** Decides for each object whether some order of its operations explains every answer. */
export function judge(history: ClientHistory, budget?: number): Judgement {
  const violations: string[] = [];
  const undecided: string[] = [];
  const objects = Map.groupBy(history.operations, ({ object }) => object);
  for (const [object, operations] of objects) {
    const events = eventsWithin(operations, history.events);
    for (const view of viewsOf({ ...history, operations, events })) {
      const title = `object ${object} ${placeOf(view)}`;
      const found = textOf(view, budget);
      if (found === "unknown") undecided.push(`${title}: too many orders to try`);
      else if (found !== undefined) violations.push(`${title}: ${found}`);
    }
  }
  return { objects: objects.size, operations: history.operations.length, violations, undecided };
}

/** Without the losses before its first operation: those took nothing of it. */
function eventsWithin(
  operations: readonly Operation[],
  events: readonly StoreEvent[],
): readonly StoreEvent[] {
  const firstMs = operations.reduce((ms, { call }) => Math.min(ms, call), Infinity);
  return events.filter((one) => one.event !== "storeLost" || (one.levelAt ?? Infinity) >= firstMs);
}

function placeOf({ region }: View): string {
  return region === undefined ? "at any endpoint" : `in the store of region ${region}`;
}

function textOf(view: View, budget: number | undefined): string | undefined {
  return view.region === undefined
    ? verdictText<Common>(view, check(commonModel, view.placed, budget), textOfCommon)
    : verdictText<Copy>(view, check(regionModel, view.placed, budget), textOfCopy);
}

function verdictText<State>(
  { placed }: View,
  verdict: Verdict<State, Placed>,
  describe: (state: State) => string,
): string | undefined {
  if (verdict.kind === "legal") return undefined;
  if (verdict.kind === "unknown") return "unknown";
  const { at, before } = verdict;
  const { unasked } = at.step.kind === "look" ? at.step : {};
  const states = [...new Set(before.map(describe))];
  const more = states.length > statesMax ? ` (and ${states.length - statesMax} more)` : "";
  const possible = `${states.slice(0, statesMax).join(" or ")}${more}`;
  const answer = operationText(at.of);
  const told = changesBefore(placed, at)
    .filter(
      (one) =>
        !("value" in one) ||
        one.value === undefined ||
        isWordOf(answer, one.value) !== isWordOf(possible, one.value),
    )
    .slice(-toldMax)
    .map(operationText);
  const why =
    unasked === undefined
      ? `before it, the object could only be: ${possible}`
      : `nobody had asked for ${unasked}`;
  const changes = told.length === 0 ? "" : `; changes: ${told.join("; ")}`;
  return `no order explains ${answer}; ${why}${changes}`;
}

/** Changes that may have happened before an answer, by their calls. */
function changesBefore(placed: readonly Placed[], at: Placed): readonly Operation[] {
  const all = new Set(placed.filter(({ callMs }) => callMs <= at.returnMs).map(({ of }) => of));
  return [...all]
    .filter((one) => one !== at.of && (mayBeMade(one) || (isChange(one) && "value" in one)))
    .toSorted((one, other) => one.call - other.call);
}

/** Values that are shown as expected explain nothing. */
function isWordOf(text: string, word: string): boolean {
  return ` ${text} `.replaceAll(/[,;:]/g, " ").includes(` ${word} `);
}

/** An operation in words. */
function operationText(one: Operation): string {
  const { operation, client, node, call, outcome, reason } = one;
  const end = one.return === undefined ? "?" : Math.round(one.return);
  const what = "attribute" in one ? ` ${one.attribute} ${one.value}` : "";
  const kind = "compromise" in one && one.compromise ? " (compromise)" : "";
  const by = `${operation}${what}${kind} by ${client} at ${node}, ${Math.round(call)} to ${end} ms`;
  if (outcome === "unknown") return `${by}: not known whether done`;
  if (outcome === "refused") return `${by}: refused, ${reason}`;
  return `${by}: ${answerText(one)}`;
}

function answerText(one: Operation): string {
  if (isChange(one)) return `acknowledged by ${one.acknowledged?.join(" and ") || "one region"}`;
  if (one.operation === "Get") return `material ${(one.digest ?? "").slice(0, 8)}`;
  if (one.operation === "Locate") return one.found ? "found" : "not found";
  const { state, attributes = {} } = one;
  const names = Object.keys(attributes);
  const values = textOfValues(attributes);
  const shown = values === "" && names.length > 0 ? `no value of ${names.join(" and ")}` : values;
  return [state ?? "", shown].filter((part) => part !== "").join(", ");
}
