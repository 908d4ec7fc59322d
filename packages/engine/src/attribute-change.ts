import {
  type Attribute,
  type AttributeReference,
  attributeByTag,
  attributes,
  attributeValue,
  attributeVisible,
  KmipError,
  referenceOf,
  type Version,
} from "@holdfast/kmip";
import { encode, type Item } from "@holdfast/ttlv";
import { attributeValues } from "./attribute-view.ts";
import type { OperationContext } from "./context.ts";
import { checkDates, normalised } from "./given-attributes.ts";
import { due, hasPassed, type State, stateOf } from "./lifecycle.ts";
import { objectTypeName } from "./object-type.ts";
import type { ManagedObject, Register } from "./record.ts";
import {
  addValue,
  currentValues,
  deleteValue,
  modifyValue,
  type Now,
  plannedDates,
  setValue,
  type Written,
} from "./registers.ts";

/** What an attribute operation does to one value. */
type Action = "add" | "modify" | "delete";

/** An object after a change of one attribute, and the index of the value that was written. */
export interface Changed {
  readonly object: ManagedObject;
  readonly index: number;
}

/** Values that one Vendor Attribute, or any other attribute, may have. */
const instancesMax = 256;

/** The row of an attribute, refused where the version, the object's type or the rules do not allow the action. */
function allowed(
  object: ManagedObject,
  reference: AttributeReference,
  action: Action,
  version: Version,
) {
  const { tag, key } = reference;
  const row = attributeByTag(tag);
  if (row === undefined || !attributeVisible(tag, version)) {
    throw new KmipError("attributeNotFound", "no such attribute");
  }
  if (!attributeVisible(tag, version, objectTypeName(object.objectType))) {
    throw new KmipError("invalidAttribute", `${row.name} is not for this object`);
  }
  const serversVendor = tag === attributes.VendorAttribute.tag && key.startsWith("y\0");
  const permitted = {
    add: row.setBy !== "server",
    modify: row.modifiable,
    delete: row.deletable,
  }[action];
  if (serversVendor || !permitted) {
    throw new KmipError("attributeReadOnly", `a client cannot ${action} ${row.name}`);
  }
  return row;
}

const dateStates: ReadonlyMap<number, readonly State[]> = new Map([
  [attributes.ActivationDate.tag, ["PreActive"]],
  [attributes.ProcessStartDate.tag, ["PreActive", "Active"]],
  [attributes.ProtectStopDate.tag, ["PreActive", "Active"]],
  [attributes.DeactivationDate.tag, ["PreActive", "Active"]],
]);

/** Dates that plan a transition change only before it, and never once they have come (KMIP 2.1, 4.1, 4.18, 4.40, 4.41). */
function checkPlanned(object: ManagedObject, tag: number, nowSeconds: number): void {
  const states = dateStates.get(tag);
  if (states === undefined) return;
  const state = stateOf(object.facts);
  if (!states.includes(state)) {
    throw new KmipError("wrongLifecycleState", `the date is fixed in state ${state}`);
  }
  const current = object.registers.find((register) => register.tag === tag)?.value;
  if (current !== undefined && hasPassed(Number(current.value), nowSeconds)) {
    throw new KmipError("wrongLifecycleState", "the date has passed and cannot be changed");
  }
}

/** Usage Limits are fixed once some of the use is allocated; the count is the server's (KMIP 2.1, 4.59). */
function checkUsage(object: ManagedObject, item: Item): void {
  if (item.tag !== attributes.UsageLimits.tag) return;
  if (Object.values(object.usage).some((used) => used > 0)) {
    throw new KmipError("attributeReadOnly", "Usage Limits are fixed once use was allocated");
  }
}

function nowOf(context: OperationContext): Now {
  return { us: context.nowUs, region: context.region };
}

/** Registers as an object's, with the facts that its dates then make true. */
function withRegisters(
  object: ManagedObject,
  registers: readonly Register[],
  context: OperationContext,
): ManagedObject {
  checkDates(registers);
  const { nowSeconds, region } = context;
  const facts = due(object.facts, plannedDates(registers), nowSeconds, region);
  return { ...object, registers, facts };
}

function written(result: Written | undefined): Written {
  if (result === undefined) {
    throw new KmipError("tooManyAttributes", "the object has as many attributes as it can");
  }
  return result;
}

/** What a Boolean forgets when it changes: it was not always so (KMIP 2.1, 4.3 and 4.33). */
function forgotten(registers: readonly Register[], item: Item, now: Now): readonly Register[] {
  const { Sensitive, AlwaysSensitive, Extractable, NeverExtractable } = attributes;
  const lost =
    item.tag === Sensitive.tag && !attributeValue("Sensitive", item)
      ? AlwaysSensitive.tag
      : item.tag === Extractable.tag && attributeValue("Extractable", item)
        ? NeverExtractable.tag
        : undefined;
  const held =
    lost === undefined ? undefined : currentValues(registers, { tag: lost, key: "" })[0]?.value;
  if (lost === undefined || held === undefined) return registers;
  const never: Item = { tag: lost, type: 0x06, value: false };
  return written(setValue(registers, { tag: lost, key: "" }, never, now)).registers;
}

/** The value as it is kept. */
function kept(item: Item, context: OperationContext): Item {
  const [first] = normalised(item, { resolve: (reference) => context.objects.resolve(reference) });
  return first ?? item;
}

function same(a: Item, b: Item): boolean {
  return Buffer.compare(encode(a), encode(b)) === 0;
}

/** Adds a value (KMIP 2.1, 6.1.2). A value that a multi-valued attribute has already is not added twice. */
export function withAdded(object: ManagedObject, given: Item, context: OperationContext): Changed {
  const name = referenceOf(given);
  const row = allowed(object, name, "add", context.version);
  const item = kept(given, context);
  checkPlanned(object, item.tag, context.nowSeconds);
  if (!row.multi) {
    if (attributeValues(object, name, context.version).length > 0) {
      throw new KmipError("attributeSingleValued", `${row.name} has a value already`);
    }
    const { registers } = written(setValue(object.registers, name, item, nowOf(context)));
    return { object: withRegisters(object, registers, context), index: 0 };
  }
  const values = currentValues(object.registers, name);
  const held = values.find(({ value }) => same(value, item));
  if (held !== undefined && item.tag === attributes.Name.tag) {
    throw new KmipError("nonUniqueName", "the object has this Name already");
  }
  if (held !== undefined) return { object, index: held.index };
  if (values.length >= instancesMax) {
    throw new KmipError("tooManyAttributes", `${row.name} has ${instancesMax} values at most`);
  }
  const { registers, register } = written(addValue(object.registers, name, item, nowOf(context)));
  return { object: withRegisters(object, registers, context), index: register.index };
}

/** Replaces the value at an index (KMIP 2.1, 6.1.34). */
export function withModified(
  object: ManagedObject,
  given: Item,
  index: number,
  context: OperationContext,
): Changed {
  const name = referenceOf(given);
  allowed(object, name, "modify", context.version);
  const item = kept(given, context);
  checkPlanned(object, item.tag, context.nowSeconds);
  checkUsage(object, item);
  const now = nowOf(context);
  const replaced =
    modifyValue(object.registers, name, index, item, now) ??
    written(setValue(object.registers, name, item, now));
  const registers = forgotten(replaced.registers, item, now);
  return { object: withRegisters(object, registers, context), index };
}

/** Deletes the value at an index (KMIP 2.1, 6.1.13). */
export function withDeleted(
  object: ManagedObject,
  reference: AttributeReference,
  index: number,
  context: OperationContext,
): Changed {
  allowed(object, reference, "delete", context.version);
  const result = deleteValue(object.registers, reference, index, nowOf(context));
  if (result === undefined) throw instanceNotFound();
  checkUsage(object, result.register.value ?? { tag: reference.tag, type: 0x01, value: [] });
  return { object: withRegisters(object, result.registers, context), index };
}

function instanceNotFound(): KmipError {
  return new KmipError("attributeInstanceNotFound", "the attribute has no such value");
}

/** The values that an attribute has, refused when it has none. */
export function existing(
  object: ManagedObject,
  reference: AttributeReference,
  version: Version,
): readonly Attribute[] {
  const values = attributeValues(object, reference, version);
  if (values.length === 0) {
    throw new KmipError("attributeNotFound", "the object does not have the attribute");
  }
  return values;
}

/** The index of the value that a request means: the one it says in 1.x, its current value in 2.x, else the only one. */
export function indexMeant(
  values: readonly Attribute[],
  said: { readonly index?: number | undefined; readonly current?: Item | undefined },
  context: OperationContext,
): number {
  const { index, current } = said;
  if (current !== undefined) {
    const wanted = kept(current, context);
    const found = values.find(({ item }) => same(item, wanted));
    if (found?.index === undefined) throw instanceNotFound();
    return found.index;
  }
  if (index !== undefined) {
    if (!values.some((value) => value.index === index)) throw instanceNotFound();
    return index;
  }
  const [only, ...others] = values;
  if (only?.index === undefined || others.length > 0) {
    throw new KmipError("attributeInstanceNotFound", "the attribute has several values");
  }
  return only.index;
}
