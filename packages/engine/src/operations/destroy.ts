import { isTemplate } from "../material/template.ts";
import type { Handler } from "../ports/operation-context.ts";
import { destroyed } from "../record/lifecycle.ts";
import { refuseKept, refuseTransition } from "../record/lifecycle-refusal.ts";

/**
 * Destroys the material and keeps the attributes (KMIP 2.1, 6.1.15). With a delay, clients see the same at once, and the
 * sealed material is erased when the delay is over.
 */
export const destroy: Handler<"Destroy"> = async (context, { uniqueIdentifier }) => {
  const { nowSeconds, nowUs: us, region, destroyDelaySeconds: delay, doubt } = context;
  // A clock that is behind must not shorten the delay: a leader ends it by another one.
  const time = delay === 0 ? nowSeconds : Math.max(nowSeconds, doubt?.latestSeconds ?? 0);
  if (context.keepsKeys) throw refuseKept("destroy objects", "key destroy");
  const after = await context.objects.change(
    uniqueIdentifier,
    (object) => {
      const result = destroyed(
        object.facts,
        { time, region, us },
        // A date among a Template's own attributes gives it no State (KMIP 1.4, 3.22 and 4.21).
        { delaySeconds: delay, hasState: !isTemplate(object) },
      );
      if (result.kind !== "changed") throw refuseTransition(result.state, "destroyed");
      const { facts } = result;
      return { ...object, facts, material: facts.destroyed ? undefined : object.material };
    },
    { locked: true },
  );
  return { uniqueIdentifier: after.uniqueIdentifier };
};
