import { KmipError, tags } from "@holdfast/kmip";
import { ItemType } from "@holdfast/ttlv";
import { leaseTimeSeconds } from "../attributes/attribute-home.ts";
import type { Handler } from "../ports/operation-context.ts";
import { isDestroyed } from "../record/lifecycle.ts";
import { requireLifecycle } from "../record/lifecycle-refusal.ts";
import type { ManagedObject } from "../record/record.ts";
import { valueAt } from "../record/registers.ts";

/** Checks whether an object may be used as requested; a denial clears the ID Placeholder (KMIP 2.1, 6.1.7). */
export const check: Handler<"Check"> = async (context, request) => {
  const { object } = await context.objects.load(request.uniqueIdentifier);
  requireLifecycle(object, context.version);
  if (isDestroyed(object.facts)) {
    throw new KmipError("objectDestroyed", "the object was destroyed");
  }
  const denial = denialOf(object, request);
  if (denial !== undefined) {
    context.placeholder.set(undefined);
    throw denial;
  }
  return { uniqueIdentifier: object.uniqueIdentifier };
};

type Asked = Parameters<typeof check>[1];

function denialOf(object: ManagedObject, asked: Asked): KmipError | undefined {
  const { cryptographicUsageMask, leaseTime, usageLimitsCount } = asked;
  if (cryptographicUsageMask !== undefined && !allows(object, cryptographicUsageMask)) {
    return new KmipError("incompatibleUsageMask", "the usage mask does not allow this use");
  }
  if (usageLimitsCount !== undefined && usageLimitsCount > remaining(object, usageLimitsCount)) {
    return new KmipError("usageLimitExceeded", "the usage limits do not allow this much");
  }
  if (leaseTime !== undefined && leaseTime > leaseTimeSeconds) {
    return new KmipError("permissionDenied", `a lease is at most ${leaseTimeSeconds} s`);
  }
  return undefined;
}

function allows({ registers }: ManagedObject, wanted: number): boolean {
  const item = valueAt(registers, { tag: tags.CryptographicUsageMask.tag, key: "" });
  return item?.type === ItemType.Integer && (wanted & ~item.value) === 0;
}

/** What the object's usage limits allow (KMIP 2.1, 4.59); without limits, all that is wanted. */
function remaining({ registers }: ManagedObject, wanted: bigint): bigint {
  const limits = valueAt(registers, { tag: tags.UsageLimits.tag, key: "" });
  if (limits?.type !== ItemType.Structure) return wanted;
  const total = limits.value.find(({ tag }) => tag === tags.UsageLimitsTotal.tag);
  return total?.type === ItemType.LongInteger ? total.value : wanted;
}
