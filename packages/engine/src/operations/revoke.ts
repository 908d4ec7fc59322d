import { enumerations, KmipError } from "@holdfast/kmip";
import type { Handler } from "../ports/operation-context.ts";
import { initialDate } from "../record/initial-date.ts";
import { deactivatedDirectly, revokeEvent, stateOf, transition } from "../record/lifecycle.ts";
import {
  hasState,
  refuseKept,
  refuseTransition,
  requireRevocable,
} from "../record/lifecycle-refusal.ts";
import type { Revocation } from "../record/record.ts";

/**
 * Deactivates an Active object, or in 1.x an Opaque Object, or compromises an object in any state (KMIP 2.1, 6.1.44;
 * KMIP 1.4, 4.20).
 */
export const revoke: Handler<"Revoke"> = async (context, request) => {
  const { nowSeconds: time, region, version } = context;
  const { revocationReason, compromiseOccurrenceDate } = request;
  const { code, message } = revocationReason;
  const reasonCode = codes[code];
  if (reasonCode === undefined) {
    throw new KmipError("invalidField", "the Revocation Reason Code is not known");
  }
  const event = revokeEvent(reasonCode);
  if (event === "deactivate" && compromiseOccurrenceDate !== undefined) {
    throw new KmipError("invalidField", "only a compromise has an occurrence date");
  }
  const { uniqueIdentifier } = await context.objects.change(
    request.uniqueIdentifier,
    (object) => {
      requireRevocable(object, version);
      if (context.keepsKeys && stateOf(object.facts) === "Active") {
        throw refuseKept("revoke Active objects", "key revoke");
      }
      const fact: Revocation = {
        time,
        region,
        reasonCode,
        ...(message === undefined ? {} : { message }),
        ...(event === "deactivate"
          ? {}
          : { occurred: compromiseOccurrenceDate ?? initialDate(object) ?? object.lastChange }),
      };
      const result =
        event === "compromise" || hasState(object, version)
          ? transition(object.facts, event, fact)
          : deactivatedDirectly(object.facts, fact);
      if (result.kind !== "changed") throw refuseTransition(result.state, "revoked");
      return { ...object, facts: result.facts };
    },
    { locked: true },
  );
  return { uniqueIdentifier };
};

const codes: Readonly<Record<string, number>> = enumerations.RevocationReasonCode;
