import type { Handler } from "../ports/operation-context.ts";
import { transition } from "../record/lifecycle.ts";
import { refuseKept, refuseTransition } from "../record/lifecycle-refusal.ts";

/** Destroys the material and keeps the attributes (KMIP 2.1, 6.1.15). */
export const destroy: Handler<"Destroy"> = async (context, { uniqueIdentifier }) => {
  const { nowSeconds, region } = context;
  if (context.keepsKeys) throw refuseKept("destroy objects", "key destroy");
  const { uniqueIdentifier: destroyed } = await context.objects.change(
    uniqueIdentifier,
    (object) => {
      const result = transition(object.facts, "destroy", { time: nowSeconds, region });
      if (result.kind !== "changed") throw refuseTransition(result.state, "destroyed");
      return { ...object, facts: result.facts, material: undefined };
    },
    { locked: true },
  );
  return { uniqueIdentifier: destroyed };
};
