import {
  type AttributeReference,
  type AttributeRow,
  attributeByTag,
  attributes,
  attributeVisible,
  KmipError,
  stateText,
  type Version,
} from "@holdfast/kmip";
import type { OperationContext } from "../ports/operation-context.ts";
import { hasPassed, type State, stateOf } from "../record/lifecycle.ts";
import { refuseKept } from "../record/lifecycle-refusal.ts";
import { objectTypeName } from "../record/object-type.ts";
import type { ManagedObject } from "../record/record.ts";

/** What an attribute operation does to one value. */
export type AttributeAction = "add" | "modify" | "delete";

/** The row of an attribute; throws if a client may not change it by `action` (KMIP 2.1, 4: each attribute's rules). */
export function requireAllowed(
  object: ManagedObject,
  { tag, key }: AttributeReference,
  action: AttributeAction,
  version: Version,
): AttributeRow {
  const row = attributeByTag(tag);
  if (row === undefined || !attributeVisible(tag, version)) {
    throw new KmipError("attributeNotFound", "no such attribute");
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
  if (!attributeVisible(tag, version, objectTypeName(object.objectType))) {
    const fault = action === "add" ? "invalidAttribute" : "attributeNotFound";
    throw new KmipError(fault, `${row.name} does not apply to this object`);
  }
  return row;
}

const dateStates: ReadonlyMap<number, readonly State[]> = new Map([
  [attributes.ActivationDate.tag, ["PreActive"]],
  [attributes.ProcessStartDate.tag, ["PreActive", "Active"]],
  [attributes.ProtectStopDate.tag, ["PreActive", "Active"]],
  [attributes.DeactivationDate.tag, ["PreActive", "Active"]],
]);

/** These are fixed once they have come; a transition's date is fixed by the state that it leads to. */
const fixedOnceReached: ReadonlySet<number> = new Set([
  attributes.ProcessStartDate.tag,
  attributes.ProtectStopDate.tag,
]);

/**
 * Refuses to change the date of a planned transition once the object's state is past it, and a Process Start or Protect
 * Stop Date once it has come (KMIP 2.1, 4.1, 4.18, 4.40 and 4.41).
 */
export function requirePlannable(
  object: ManagedObject,
  tag: number,
  context: Pick<OperationContext, "nowSeconds" | "keepsKeys" | "mayRevoke">,
): void {
  const states = dateStates.get(tag);
  if (states === undefined) return;
  const state = stateOf(object.facts);
  if (tag === attributes.DeactivationDate.tag) refuseDeactivation(state, context);
  if (!states.includes(state)) {
    throw new KmipError("wrongLifecycleState", `the date is fixed in state ${stateText(state)}`);
  }
  if (!fixedOnceReached.has(tag)) return;
  const current = object.registers.find((register) => register.tag === tag)?.value;
  if (current !== undefined && hasPassed(Number(current.value), context.nowSeconds)) {
    throw new KmipError("wrongLifecycleState", "the date has passed and cannot be changed");
  }
}

/** A planned deactivation does what Revoke does, later; also to an object that is activated in between. */
function refuseDeactivation(
  state: State,
  { keepsKeys, mayRevoke }: Pick<OperationContext, "keepsKeys" | "mayRevoke">,
): void {
  if (state !== "PreActive" && state !== "Active") return;
  if (keepsKeys) throw refuseKept("plan a deactivation", "key revoke");
  if (mayRevoke) return;
  throw new KmipError(
    "permissionDenied",
    "the client may not Revoke, so it may not plan a deactivation either",
  );
}
