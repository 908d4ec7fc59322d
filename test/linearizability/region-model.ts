import type { Model } from "./checker.ts";
import { bits, type Facts, isPermitted, stateOf } from "./lifecycle.ts";
import {
  haveSame,
  isLost,
  isMissing,
  mayNeed,
  rules,
  type Step,
  type StepOf,
  textOfValues,
  type ValueStep,
  type Values,
  when,
} from "./step.ts";

/** One region's copy of an object. */
export interface Copy {
  readonly exists: boolean;
  /** Whether a search in this region must find it. */
  readonly isListed: boolean;
  readonly facts: Facts;
  readonly attributes: Values;
  /** Digest of the material, once anybody has seen it. */
  readonly digest: string | undefined;
}

/** What a region's clients are shown: every read shows exactly the copy. */
export const regionModel: Model<Copy, Step> = {
  initial: { exists: false, isListed: false, facts: 0, attributes: {}, digest: undefined },
  next,
  key: ({ exists, isListed, facts, attributes, digest }) =>
    `${exists} ${isListed} ${facts} ${digest} ${textOfValues(attributes)}`,
  isMissing: ({ attributes }, step, change) => isMissing(attributes, step, change),
  isLost: (step, later, { attributes }) => isLost(step, later, attributes),
  ...rules,
  needs: (step, change, { attributes }) =>
    rules.needs(step, change) && mayNeed(attributes, step, change),
};

/** A copy in words. */
export function textOfCopy({ exists, facts, attributes, digest }: Copy): string {
  if (!exists) return "no object";
  const values = textOfValues(attributes);
  const parts = [
    stateOf(facts),
    ...(values === "" ? [] : [values]),
    ...(digest === undefined ? [] : [`material ${digest.slice(0, 8)}`]),
  ];
  return parts.join(", ");
}

function next(copy: Copy, step: Step): readonly Copy[] {
  if (step.kind === "create") {
    return copy.exists ? [] : [{ ...copy, exists: true, isListed: step.isListed }];
  }
  const isGone = (copy.facts & bits.destroy) !== 0;
  if (step.kind === "absent") return when(!copy.exists || (step.orDestroyed && isGone), copy);
  if (step.kind === "locate" && !step.found) {
    return when(isGone || !isMatch(copy, step), copy);
  }
  return copy.exists ? ofExisting(copy, step, isGone) : [];
}

function ofExisting(
  copy: Copy,
  step: Exclude<Step, { kind: "create" | "absent" }>,
  isGone: boolean,
): readonly Copy[] {
  const { facts, digest } = copy;
  switch (step.kind) {
    case "list":
      return [copy.isListed ? copy : { ...copy, isListed: true }];
    case "locate":
      return when(
        step.term === undefined || isMatch(copy, step),
        copy.isListed ? copy : { ...copy, isListed: true },
      );
    case "event": {
      const isLegal = !step.isDecided || isPermitted(facts, step.event);
      const has = (facts & bits[step.event]) !== 0;
      return when(isLegal, has ? copy : { ...copy, facts: facts | bits[step.event] });
    }
    case "refused":
      return when(!isPermitted(facts, step.event), copy);
    case "gone":
      return when(isGone, copy);
    case "material":
      return when(
        !isGone && (digest ?? step.digest) === step.digest,
        digest === undefined ? { ...copy, digest: step.digest } : copy,
      );
    case "look":
      return when(isShown(copy, step), copy);
    case "add":
    case "delete":
    case "set":
      return changed(copy, step);
  }
}

/** Whether a search must find the object while it is not destroyed. */
function isMatch({ isListed, attributes }: Copy, { term }: StepOf<"locate">): boolean {
  if (term === undefined) return isListed;
  return attributes[term.attribute]?.includes(term.value) === true;
}

function isShown({ facts, attributes }: Copy, step: StepOf<"look">): boolean {
  if (step.state !== undefined && step.state !== stateOf(facts)) return false;
  return Object.entries(step.attributes).every(([attribute, values]) =>
    haveSame(values, attributes[attribute] ?? []),
  );
}

function changed(copy: Copy, step: ValueStep): readonly Copy[] {
  const { attribute, value } = step;
  const values = copy.attributes[attribute] ?? [];
  const others = values.filter((one) => one !== value);
  const having = (all: readonly string[]): Copy => ({
    ...copy,
    attributes: { ...copy.attributes, [attribute]: all },
  });
  const has = others.length < values.length;
  if (step.kind === "add") return [has ? copy : having([...values, value])];
  if (step.kind === "delete") return [has ? having(others) : copy];
  if (has && others.length === 0) return [copy];
  const mayStay = others.some((one) => step.rivals.has(one));
  return mayStay ? [having([value]), copy] : [having([value])];
}
