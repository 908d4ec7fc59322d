import { attributes, attributeVisible, KmipError, stateText, type Version } from "@holdfast/kmip";
import { type State, stateValues } from "./lifecycle.ts";
import { objectTypeName } from "./object-type.ts";
import type { ManagedObject } from "./record.ts";

/** Refuses an operation on an object of a type that has no State in the version (KMIP 1.4, 3.22; KMIP 2.1, 4.57). */
export function requireLifecycle(object: ManagedObject, version: Version): void {
  if (!hasState(object, version)) throw wrongType(objectTypeName(object.objectType));
}

/** Whether objects of this type have a State in the version: an Opaque Object has none in 1.x. */
export function hasState({ objectType }: ManagedObject, version: Version): boolean {
  return attributeVisible(attributes.State.tag, version, objectTypeName(objectType));
}

/** Refuses to revoke an object that cannot be revoked: a Template (KMIP 1.4, 11.21). */
export function requireRevocable(object: ManagedObject, version: Version): void {
  const type = objectTypeName(object.objectType);
  if (!attributeVisible(attributes.RevocationReason.tag, version, type)) throw wrongType(type);
}

/** Refuses clients what an instance that keeps its keys leaves to administrators; see `Client.keepsKeys`. */
export function refuseKept(what: string, command: string): KmipError {
  return new KmipError(
    "permissionDenied",
    `clients of this instance may not ${what} over KMIP; an operator can: \`holdfast ${command}\``,
  );
}

function wrongType(type: string): KmipError {
  return new KmipError("invalidObjectType", `the operation does not apply to ${type}`);
}

/** The fault of a transition that the State does not permit. */
export function refuseTransition(state: State, participle: string): KmipError {
  const destroyed =
    stateValues[state] === stateValues.Destroyed ||
    stateValues[state] === stateValues.DestroyedCompromised;
  return destroyed
    ? new KmipError("objectDestroyed", "the object was destroyed")
    : new KmipError(
        "wrongLifecycleState",
        `an object in state ${stateText(state)} cannot be ${participle}`,
      );
}
