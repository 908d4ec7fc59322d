import type { Handler } from "../ports/operation-context.ts";
import { transition } from "../record/lifecycle.ts";
import { refuseTransition, requireLifecycle } from "../record/lifecycle-refusal.ts";

/** Makes a Pre-Active object Active; an Active one stays as it is, since two hosts may race (KMIP 2.1, 6.1.1). */
export const activate: Handler<"Activate"> = async (context, { uniqueIdentifier }) => {
  const { nowSeconds, region, version } = context;
  const { uniqueIdentifier: activated } = await context.objects.change(
    uniqueIdentifier,
    (object) => {
      requireLifecycle(object, version);
      const result = transition(object.facts, "activate", { time: nowSeconds, region });
      if (result.kind === "refused") throw refuseTransition(result.state, "activated");
      return result.kind === "already" ? object : { ...object, facts: result.facts };
    },
    { locked: true },
  );
  return { uniqueIdentifier: activated };
};
