import type { Model } from "./checker.ts";
import { bits, canHave, type Facts, isDestroyed } from "./lifecycle.ts";
import {
  isLost,
  rules,
  type Step,
  type StepOf,
  textOfValues,
  type ValueStep,
  type Values,
  when,
} from "./step.ts";

/** What every region must show of an object: a destruction exactly, everything else at least. */
export interface Common {
  readonly exists: boolean;
  readonly isDestroyed: boolean;
  /** Facts that both regions had acknowledged; others may show too. */
  readonly facts: Facts;
  /** Values that both regions had acknowledged. */
  readonly attributes: Values;
  /** Values that may not show again. */
  readonly deleted: Values;
  /** Attribute → values that may be shown in the place of the last one that was set. */
  readonly successors: Readonly<Record<string, ReadonlySet<string>>>;
  readonly digest: string | undefined;
}

/** What holds at every endpoint, whichever store it is served from. */
export const commonModel: Model<Common, Step> = {
  initial: {
    exists: false,
    isDestroyed: false,
    facts: 0,
    attributes: {},
    deleted: {},
    successors: {},
    digest: undefined,
  },
  next,
  key: (one) =>
    `${one.exists} ${one.isDestroyed} ${one.facts} ${one.digest} ${textOfValues(one.attributes)} / ${textOfValues(one.deleted)}`,
  isLost: (step, later, { attributes }) => isLost(step, later, attributes),
  ...rules,
};

/** The same in words. */
export function textOfCommon(one: Common): string {
  if (!one.exists) return "no object";
  const values = textOfValues(one.attributes);
  const deleted = textOfValues(one.deleted);
  const events = ["activate", "deactivate", "compromise"] as const;
  const facts = events.filter((event) => (one.facts & bits[event]) !== 0);
  const parts = [
    one.isDestroyed ? "destroyed" : "not destroyed",
    ...facts.map((event) => past[event]),
    ...(values === "" ? [] : [`at least ${values}`]),
    ...(deleted === "" ? [] : [`without ${deleted}`]),
    ...(one.digest === undefined ? [] : [`material ${one.digest.slice(0, 8)}`]),
  ];
  return parts.join(", ");
}

const past = {
  activate: "activated",
  deactivate: "deactivated",
  compromise: "compromised",
} as const;

function next(one: Common, step: Step): readonly Common[] {
  if (step.kind === "create") return one.exists ? [] : [{ ...one, exists: true }];
  if (step.kind === "absent") {
    return when(!one.exists || (step.orDestroyed && one.isDestroyed), one);
  }
  return one.exists ? ofExisting(one, step) : [];
}

function ofExisting(
  one: Common,
  step: Exclude<Step, { kind: "create" | "absent" }>,
): readonly Common[] {
  switch (step.kind) {
    case "event":
      return happened(one, step);
    case "gone":
      return when(one.isDestroyed, one);
    case "material":
      return when(
        !one.isDestroyed && (one.digest ?? step.digest) === step.digest,
        one.digest === undefined ? { ...one, digest: step.digest } : one,
      );
    case "look":
      return when(isShown(one, step), one);
    case "add":
    case "delete":
    case "set":
      return changed(one, step);
    case "list":
    case "locate":
    case "refused":
      return [one];
  }
}

function happened(one: Common, { event }: StepOf<"event">): readonly Common[] {
  if (event === "destroy") return [one.isDestroyed ? one : { ...one, isDestroyed: true }];
  const has = (one.facts & bits[event]) !== 0;
  return [has ? one : { ...one, facts: one.facts | bits[event] }];
}

function isShown(one: Common, step: StepOf<"look">): boolean {
  const { state, attributes, unasked } = step;
  if (unasked !== undefined) return false;
  if (state !== undefined && (isDestroyed(state) !== one.isDestroyed || !canHave(state, one.facts)))
    return false;
  return Object.entries(attributes).every(([attribute, values]) => {
    const known = one.attributes[attribute] ?? [];
    const deleted = one.deleted[attribute] ?? [];
    const successors = one.successors[attribute];
    if (values.some((value) => deleted.includes(value))) return false;
    if (successors === undefined) return known.every((value) => values.includes(value));
    return values.some((value) => known.includes(value) || successors.has(value));
  });
}

function changed(one: Common, step: ValueStep): readonly Common[] {
  const { attribute, value } = step;
  const known = one.attributes[attribute] ?? [];
  const others = known.filter((other) => other !== value);
  const having = (all: readonly string[]): Common => ({
    ...one,
    attributes: { ...one.attributes, [attribute]: all },
  });
  if (step.kind === "add") {
    return [known.includes(value) ? one : having([...known, value])];
  }
  if (step.kind === "delete") {
    const deleted = [...(one.deleted[attribute] ?? []), value];
    return [{ ...having(others), deleted: { ...one.deleted, [attribute]: deleted } }];
  }
  const set = {
    ...having([value]),
    successors: { ...one.successors, [attribute]: step.successors },
  };
  return others.some((other) => step.rivals.has(other)) ? [set, one] : [set];
}
