import { enumerations, KmipError } from "@holdfast/kmip";
import type { Handler } from "../ports/operation-context.ts";
import { initialDate } from "../record/initial-date.ts";
import { revokeEvent, stateOf, transition } from "../record/lifecycle.ts";
import { refuseKept, refuseTransition, requireRevocable } from "../record/lifecycle-refusal.ts";
import type { Revocation } from "../record/record.ts";

/** Deactivates an Active object, or compromises one in any state (KMIP 2.1, 6.1.44). */
export const revoke: Handler<"Revoke"> = async (context, request) => {
  const { nowSeconds: time, region, version } = context;
  const { revocationReason, compromiseOccurrenceDate } = request;
  const { code, message } = revocationReason;
  const reasonCode = codes[code] ?? Number(code);
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
      const result = transition(object.facts, event, fact);
      if (result.kind !== "changed") throw refuseTransition(result.state, "revoked");
      return { ...object, facts: result.facts };
    },
    { locked: true },
  );
  return { uniqueIdentifier };
};

const codes: Readonly<Record<string, number>> = enumerations.RevocationReasonCode;
