import {
  KmipError,
  type ObjectTypeName,
  objectTypesOf,
  tags,
  type Version,
  versions,
  within,
} from "@holdfast/kmip";
import { type Item, ItemType } from "@holdfast/ttlv";
import { handOut } from "../material/hand-out.ts";
import { healing } from "../material/healing.ts";
import { openObject } from "../material/material.ts";
import type { Handler } from "../ports/operation-context.ts";
import { objectTypeName } from "../record/object-type.ts";
import type { ManagedObject } from "../record/record.ts";

const typesOf: ReadonlyMap<Version, ReadonlySet<ObjectTypeName>> = new Map(
  versions.map((version) => [version, new Set(objectTypesOf(version))]),
);

/** Returns an object as it was registered, or in another format with the same content (KMIP 2.1, 6.1.19). */
export const get: Handler<"Get"> = async (context, request) => {
  const found = await context.objects.load(request.uniqueIdentifier);
  const objectType = objectTypeName(found.object.objectType);
  if (typesOf.get(context.version)?.has(objectType) !== true) {
    throw new KmipError("invalidObjectType", `KMIP ${context.version} has no ${objectType}`);
  }
  const open = (object: ManagedObject) => openObject(context.keyRing, object);
  const { stored, result: opened } = await healing(context, found, open);
  const { object } = stored;
  const answer = handOut(object, opened, request);
  if (!within(context.version, "1.2") && lacksKeyValue(answer)) {
    throw new KmipError(
      "keyValueNotPresent",
      "before KMIP 1.2 a key cannot be returned without its value",
    );
  }
  if (object.facts.served === undefined) await context.objects.markServed(stored);
  return { objectType, uniqueIdentifier: object.uniqueIdentifier, object: answer };
};

/** Whether a key's structure has a Key Block without a Key Value. */
function lacksKeyValue(object: Item): boolean {
  const block = partOf(object, tags.KeyBlock.tag);
  return block !== undefined && partOf(block, tags.KeyValue.tag) === undefined;
}

function partOf(item: Item, tag: number): Item | undefined {
  return item.type === ItemType.Structure ? item.value.find((part) => part.tag === tag) : undefined;
}
