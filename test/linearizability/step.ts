import type { LifecycleEvent } from "./lifecycle.ts";
import type { State } from "./operation.ts";

/** Attribute → its values. */
export type Values = Readonly<Record<string, readonly string[]>>;

/** What an operation does to one copy of an object, or what it shows of it. */
export type Step =
  /** `isListed`: a search of this copy finds the object from then on. */
  | { readonly kind: "create"; readonly isListed: boolean }
  /** From now on a search finds the object. */
  | { readonly kind: "list" }
  /** `isDecided`: the state of this copy must permit it. */
  | { readonly kind: "event"; readonly event: LifecycleEvent; readonly isDecided: boolean }
  | { readonly kind: "add"; readonly attribute: string; readonly value: string }
  | { readonly kind: "delete"; readonly attribute: string; readonly value: string }
  | {
      readonly kind: "set";
      readonly attribute: string;
      readonly value: string;
      /** Values that may stay in its place, since they were written at the same time. */
      readonly rivals: ReadonlySet<string>;
      /** Values that may be shown when it was done, since they are not known to be older. */
      readonly successors: ReadonlySet<string>;
    }
  | {
      readonly kind: "look";
      readonly state?: State | undefined;
      readonly attributes: Values;
      /** What it shows that nobody had asked for by then. */
      readonly unasked?: string | undefined;
    }
  | { readonly kind: "material"; readonly digest: string }
  | {
      readonly kind: "locate";
      readonly found: boolean;
      /** The value that was searched for; undefined for a search of every object. */
      readonly term: { readonly attribute: string; readonly value: string } | undefined;
    }
  /** "Not found". `orDestroyed`: a destroyed object is answered in the same way. */
  | { readonly kind: "absent"; readonly orDestroyed: boolean }
  /** "The object was destroyed." */
  | { readonly kind: "gone" }
  /** The state does not permit it. */
  | { readonly kind: "refused"; readonly event: LifecycleEvent };

export type StepOf<Kind extends Step["kind"]> = Extract<Step, { readonly kind: Kind }>;
export type ValueStep = StepOf<"add" | "delete" | "set">;

function nameOf(step: Step): string {
  if (step.kind === "event") return `${step.kind} ${step.event} ${step.isDecided}`;
  return isValue(step) ? `${step.kind} ${step.attribute} ${step.value}` : step.kind;
}

/** Steps that are as possible after an event as before it. */
const unaffected: ReadonlySet<Step["kind"]> = new Set(["create", "list", "add", "delete", "set"]);

/** Whether `step` may be possible only after a change. */
function needs(step: Step, change: Step): boolean {
  if (change.kind === "create") return true;
  if (change.kind === "event") {
    return step.kind === "look" ? step.state !== undefined : !unaffected.has(step.kind);
  }
  if (!isValue(change)) return false;
  if (step.kind === "locate") return maySearch(step, change);
  // It deletes something only afterwards.
  if (step.kind === "delete" && change.kind === "set") {
    return step.attribute === change.attribute && step.value === change.value;
  }
  return step.kind === "look" && isShown(step, change) === (change.kind !== "delete");
}

/** Whether a search may have its result only after a change of a value. */
function maySearch({ term, found }: StepOf<"locate">, change: ValueStep): boolean {
  if (term?.attribute !== change.attribute) return false;
  if (change.kind === "set") return true;
  return term.value === change.value && found === (change.kind === "add");
}

/** Whether a read may be possible only before a change, or the order of two changes of values matters. */
function areOrdered(step: Step, later: Step): boolean {
  if (isRead(step)) return !isRead(later) && mayPrevent(later, step);
  if (!isValue(step) || !isValue(later) || step.attribute !== later.attribute) return false;
  // What `isLost` says of the others is enough.
  if (step.kind === "set") return later.kind !== "set";
  return step.kind === "delete" && (later.kind === "set" || step.value === later.value);
}

/** Whether a change of a value right before a later one, which led to these values, would have made no difference. */
export function isLost(step: Step, later: Step, values: Values): boolean {
  if (!isValue(step) || !isValue(later) || step.attribute !== later.attribute) return false;
  if (later.kind === "set") {
    return step.kind !== "delete" && haveSame(values[later.attribute] ?? [], [later.value]);
  }
  return step.kind === "add" && step.value === later.value;
}

/** Whether a read may be impossible after a change. */
function mayPrevent(change: Step, read: Step): boolean {
  if (change.kind === "list") return read.kind === "locate";
  if (change.kind === "event") return read.kind !== "look" || read.state !== undefined;
  if (!isValue(change)) return true;
  if (read.kind === "locate") return read.term?.attribute === change.attribute;
  return read.kind === "look" && isShown(read, change) === (change.kind === "delete");
}

/** Whether an answer shows the value of a change; undefined if it does not have the attribute. */
function isShown({ attributes }: StepOf<"look">, change: ValueStep): boolean | undefined {
  return attributes[change.attribute]?.includes(change.value);
}

function isRead(step: Step): boolean {
  return !unaffected.has(step.kind) && step.kind !== "event";
}

function isValue(step: Step): step is ValueStep {
  return step.kind === "add" || step.kind === "delete" || step.kind === "set";
}

/** Whether an answer shows a value that these values lack and a change adds, or lacks one that only a change deletes. */
export function isMissing(values: Values, step: Step, change: Step): boolean {
  if (step.kind !== "look" || !isValue(change)) return false;
  const all = values[change.attribute] ?? [];
  const has = all.includes(change.value);
  if (change.kind !== "delete") return !has && isShown(step, change) === true;
  // An attribute with several values is never set, which would replace them.
  return has && all.length > 1 && isShown(step, change) === false;
}

/** Whether an answer may need the deletion of a value: it is there, or is set and deleted before. */
export function mayNeed(values: Values, step: Step, change: Step): boolean {
  if (step.kind !== "look" || change.kind !== "delete") return true;
  const all = values[change.attribute] ?? [];
  const shown = step.attributes[change.attribute] ?? [];
  return all.includes(change.value) || (shown.length === 0 && all.length > 0);
}

/** How the steps relate to each other, in every model of an object. */
export const rules = { name: nameOf, isRead, needs, areOrdered };

/** The state that a step leads to if it is possible. */
export function when<State>(isPossible: boolean, state: State): readonly State[] {
  return isPossible ? [state] : [];
}

/** Attributes as one text, the same for equal values in any order. */
export function textOfValues(values: Values): string {
  return Object.entries(values)
    .filter(([, all]) => all.length > 0)
    .map(([attribute, all]) => `${attribute} ${all.toSorted().join(", ")}`)
    .toSorted()
    .join("; ");
}

export function haveSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((value) => other.includes(value));
}
