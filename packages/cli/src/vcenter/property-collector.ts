import { OperatorError } from "@holdfast/server/operator-error";
import { unboxed } from "@holdfast/server/vi-json";
import type { MoRef, Vcenter } from "./vi-json.ts";

/** A data object of the API. */
export type Data = Readonly<Record<string, unknown>>;

/** An object with the properties that were asked for. */
export interface Found {
  readonly object: MoRef;
  readonly values: Data;
  /** Properties that the user may not read. */
  readonly missing: readonly string[];
}

const pageObjects = 100;

/** Every object of a type in a vCenter, with these properties: `CreateContainerView` and `RetrievePropertiesEx`. */
export async function* objectsOf(
  vcenter: Vcenter,
  type: string,
  paths: readonly string[],
): AsyncGenerator<Found> {
  const { viewManager, rootFolder, propertyCollector } = vcenter.content;
  const wanted = { container: referenceOf(rootFolder), type: [type], recursive: true };
  const view = (await vcenter.call(viewManager, "CreateContainerView", wanted)) as MoRef;
  try {
    const asked = retrieval(view, type, paths);
    let page = await vcenter.call(propertyCollector, "RetrievePropertiesEx", asked);
    // Nothing of this type.
    if (page === undefined) return;
    for (;;) {
      const { objects, token } = dataOf(page);
      if (!Array.isArray(objects)) throw cutOff(type);
      yield* listOf(objects).map(foundOf);
      if (token === undefined || token === null || token === "") return;
      page = await vcenter.call(propertyCollector, "ContinueRetrievePropertiesEx", { token });
    }
  } finally {
    await vcenter.call(view, "DestroyView").catch(() => undefined);
  }
}

/** A list that ends early must not pass for a whole one. */
function cutOff(type: string): Error {
  return new OperatorError(
    `vCenter did not send all of its list of ${type}: give the command again`,
    "again",
  );
}

/** A request for properties of all objects of a type in a view (PropertyCollector). */
function retrieval(view: MoRef, type: string, pathSet: readonly string[]): Data {
  const path = {
    _typeName: "TraversalSpec",
    name: "view",
    type: "ContainerView",
    path: "view",
    skip: false,
  };
  return {
    specSet: [
      {
        _typeName: "PropertyFilterSpec",
        objectSet: [
          { _typeName: "ObjectSpec", obj: referenceOf(view), skip: true, selectSet: [path] },
        ],
        propSet: [{ _typeName: "PropertySpec", type, pathSet }],
      },
    ],
    options: { _typeName: "RetrieveOptions", maxObjects: pageObjects },
  };
}

function foundOf({ obj, propSet, missingSet }: Data): Found {
  const values = listOf(propSet).map(({ name, val }) => [String(name), unboxed(val)] as const);
  return {
    object: obj as MoRef,
    values: Object.fromEntries(values),
    missing: listOf(missingSet).map(({ path }) => String(path)),
  };
}

/** Why an object cannot be judged: a property may not be read, or one that each such object has is not there. */
export function gapOf({ values, missing }: Found, needed: string): string | undefined {
  if (missing.length > 0) return `no permission to read ${missing.join(", ")}`;
  if (values[needed] !== undefined) return undefined;
  return "has no configuration: orphaned, not accessible, or no permission";
}

/** A reference as a request has it. */
export function referenceOf({ type, value }: MoRef): Data {
  return { _typeName: "ManagedObjectReference", type, value };
}

/** An object; empty where it is not set. */
export function dataOf(value: unknown): Data {
  const plain = unboxed(value);
  return typeof plain === "object" && plain !== null ? (plain as Data) : {};
}

/** A list; it is `null` or absent where it is empty, and boxed in a place for any type. */
export function listOf(value: unknown): readonly Data[] {
  if (Array.isArray(value)) return value as readonly Data[];
  const { _value } = (value ?? {}) as Data;
  return Array.isArray(_value) ? (_value as readonly Data[]) : [];
}
