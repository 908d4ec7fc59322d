import { type Fault, isVersion1, KmipError, tags } from "@holdfast/kmip";
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
  const [denial, ...more] = denialsOf(object, request);
  if (denial === undefined) return { uniqueIdentifier: object.uniqueIdentifier };
  context.placeholder.set(undefined);
  // 2.x says the same as 1.4, 4.10, but its mandatory test case BL-M-2-21 wants no payload.
  if (!isVersion1(context.version)) throw new KmipError(denial.fault, denial.message);
  const payload = Object.assign({}, denial.asked, ...more.map(({ asked }) => asked));
  throw new KmipError(denial.fault, denial.message, { payload });
};

type Asked = Parameters<typeof check>[1];

/** What was asked and is not allowed, and why. */
interface Denial {
  readonly fault: Fault;
  readonly message: string;
  readonly asked: Partial<Asked>;
}

function denialsOf(object: ManagedObject, asked: Asked): readonly Denial[] {
  const { cryptographicUsageMask, leaseTime, usageLimitsCount } = asked;
  const denials: Denial[] = [];
  if (cryptographicUsageMask !== undefined && !allows(object, cryptographicUsageMask)) {
    denials.push({
      fault: "incompatibleUsageMask",
      message: "the usage mask does not allow this use",
      asked: { cryptographicUsageMask },
    });
  }
  if (usageLimitsCount !== undefined && usageLimitsCount > remaining(object, usageLimitsCount)) {
    denials.push({
      fault: "usageLimitExceeded",
      message: "the usage limits do not allow this much",
      asked: { usageLimitsCount },
    });
  }
  if (leaseTime !== undefined && leaseTime > leaseTimeSeconds) {
    denials.push({
      fault: "permissionDenied",
      message: `a lease is at most ${leaseTimeSeconds} s`,
      asked: { leaseTime },
    });
  }
  return denials;
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
