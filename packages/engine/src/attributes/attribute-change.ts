import {
  type AttributeReference,
  attributes,
  attributeValue,
  KmipError,
  referenceOf,
} from "@holdfast/kmip";
import { boolean, encode, type Item } from "@holdfast/ttlv";
import type { OperationContext } from "../ports/operation-context.ts";
import { dueSurely } from "../record/lifecycle.ts";
import type { ManagedObject, Register } from "../record/record.ts";
import {
  addValue,
  currentValues,
  deleteValue,
  modifyValue,
  type Now,
  plannedDates,
  setValue,
  type Written,
} from "../record/registers.ts";
import { requireAllowed, requirePlannable } from "./attribute-rules.ts";
import { attributeValues } from "./attribute-view.ts";
import { checkDates, checkSize, normalised } from "./given-attributes.ts";

/** An object after a change of one attribute, and the index of the value that was written. */
export interface Changed {
  readonly object: ManagedObject;
  readonly index: number;
}

/** Most values of one attribute. Each Vendor Attribute counts by itself. */
const instancesMax = 256;

/** Adds a value (KMIP 2.1, 6.1.2). A value that a multi-valued attribute already has is not added again. */
export function withAdded(object: ManagedObject, given: Item, context: OperationContext): Changed {
  const name = referenceOf(given);
  const row = requireAllowed(object, name, "add", context.version);
  requirePlannable(object, name.tag, context);
  requireOwnCount(object, given, context);
  const item = kept(given, context);
  if (!row.multi) {
    if (attributeValues(object, name, context.version).length > 0) {
      throw new KmipError("attributeSingleValued", `${row.name} has a value already`);
    }
    const { registers } = written(setValue(object.registers, name, item, nowOf(context)));
    return { object: withRegisters(object, registers, item.tag, context), index: 0 };
  }
  requireNewName(object, item, undefined);
  const values = currentValues(object.registers, name);
  const held = values.find(({ value }) => sameItem(value, item));
  if (held !== undefined) return { object, index: held.index };
  if (values.length >= instancesMax) {
    throw new KmipError("tooManyAttributes", `${row.name} can have at most ${instancesMax} values`);
  }
  const { registers, register } = written(
    addValue(object.registers, name, item, { ...nowOf(context), origin: context.writer.next() }),
  );
  return { object: withRegisters(object, registers, item.tag, context), index: register.index };
}

/** Replaces the value at an index (KMIP 2.1, 6.1.34). */
export function withModified(
  object: ManagedObject,
  given: Item,
  index: number,
  context: OperationContext,
): Changed {
  const name = referenceOf(given);
  requireAllowed(object, name, "modify", context.version);
  requirePlannable(object, name.tag, context);
  requireOwnCount(object, given, context);
  const item = kept(given, context);
  requireNewName(object, item, index);
  const now = nowOf(context);
  const replaced =
    modifyValue(object.registers, name, index, item, now) ??
    written(setValue(object.registers, name, item, now));
  const registers = forgotten(replaced.registers, item, now);
  return { object: withRegisters(object, registers, item.tag, context), index };
}

/** Deletes the value at an index (KMIP 2.1, 6.1.13). */
export function withDeleted(
  object: ManagedObject,
  reference: AttributeReference,
  index: number,
  context: OperationContext,
): ManagedObject {
  requireAllowed(object, reference, "delete", context.version);
  const result = deleteValue(object.registers, reference, index, nowOf(context));
  if (result === undefined) {
    throw new KmipError("attributeInstanceNotFound", "the attribute has no such value");
  }
  return { ...object, registers: result.registers };
}

/** True if two items have the same encoding. */
export function sameItem(a: Item, b: Item): boolean {
  return Buffer.compare(encode(a), encode(b)) === 0;
}

/** The value in the form that is stored. */
export function kept(item: Item, context: OperationContext): Item {
  const [first] = normalised(item, { resolve: (reference) => context.objects.resolve(reference) });
  return first ?? item;
}

function nowOf({ nowUs, region }: OperationContext): Now {
  return { us: nowUs, region };
}

/** The object after a change of one attribute's registers, with the facts that its dates now make true. */
function withRegisters(
  object: ManagedObject,
  registers: readonly Register[],
  tag: number,
  context: OperationContext,
): ManagedObject {
  checkSize(registers);
  checkDates(registers, { tag, activated: object.facts.activated?.time });
  const facts = dueSurely(object.facts, plannedDates(registers), context, context.region);
  return { ...object, registers, facts };
}

function written(result: Written | undefined): Written {
  if (result === undefined) {
    throw new KmipError("tooManyAttributes", "the object has the maximum number of attributes");
  }
  return result;
}

/** A Name is unique regardless of its type, also within the object. `index` is that of the value it replaces. */
function requireNewName(object: ManagedObject, item: Item, index: number | undefined): void {
  if (item.tag !== attributes.Name.tag) return;
  const { value: wanted } = attributeValue("Name", item);
  const names = currentValues(object.registers, { tag: item.tag, key: "" });
  const taken = names.some(
    (name) => name.index !== index && attributeValue("Name", name.value).value === wanted,
  );
  if (taken) throw new KmipError("nonUniqueName", "the object has this Name already");
}

/** Refuses a Usage Limits Count that is not the server's own, before or after the change (KMIP 2.1, 4.59). */
function requireOwnCount(object: ManagedObject, given: Item, { version }: OperationContext): void {
  if (given.tag !== attributes.UsageLimits.tag) return;
  const { count, total } = attributeValue("UsageLimits", given);
  const [current] = attributeValues(object, referenceOf(given), version);
  const own = current && attributeValue("UsageLimits", current.item).count;
  if (count === undefined || count === total || count === own) return;
  throw new KmipError("attributeReadOnly", "only the server sets Usage Limits Count");
}

/** Sets Always Sensitive or Never Extractable to False once it is untrue (KMIP 2.1, 4.3 and 4.33). */
function forgotten(registers: readonly Register[], item: Item, now: Now): readonly Register[] {
  const tag = lostBy(item);
  if (tag === undefined) return registers;
  const name = { tag, key: "" };
  if (currentValues(registers, name).length === 0) return registers;
  return written(setValue(registers, name, boolean(tag, false), now)).registers;
}

function lostBy(item: Item): number | undefined {
  const { Sensitive, AlwaysSensitive, Extractable, NeverExtractable } = attributes;
  if (item.tag === Sensitive.tag) {
    return attributeValue("Sensitive", item) ? undefined : AlwaysSensitive.tag;
  }
  if (item.tag === Extractable.tag) {
    return attributeValue("Extractable", item) ? NeverExtractable.tag : undefined;
  }
  return undefined;
}
