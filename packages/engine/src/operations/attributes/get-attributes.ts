import { type Attribute, type AttributeReference, KmipError, within } from "@holdfast/kmip";
import { allAttributes, attributeValues } from "../../attributes/attribute-view.ts";
import { healing } from "../../material/healing.ts";
import { isDigest, withDigests, withDigestsIfOpen } from "../../material/object-digest.ts";
import type { Handler, OperationContext } from "../../ports/operation-context.ts";
import type { ManagedObject } from "../../record/record.ts";

/** Attributes by reference, or all of them; one that the object lacks is left out (KMIP 2.1, 6.1.20). */
export const getAttributes: Handler<"GetAttributes"> = async (context, request) => {
  const { version } = context;
  const references = distinct(request.references);
  if (references.length < request.references.length && within(version, "1.1")) {
    throw new KmipError("invalidMessage", "an attribute is requested twice");
  }
  const stored = await context.objects.load(request.uniqueIdentifier);
  const { result: object } = await healing(context, stored, (copy) =>
    completed(context, copy, references),
  );
  const { uniqueIdentifier } = object;
  const attributes: readonly Attribute[] =
    references.length === 0
      ? allAttributes(object, version)
      : references.flatMap((reference) => attributeValues(object, reference, version));
  return { uniqueIdentifier, attributes };
};

/** Adds the Digest if it is asked for: by its name it must be returned, among all attributes it may be absent. */
async function completed(
  { keyRing }: OperationContext,
  object: ManagedObject,
  references: readonly AttributeReference[],
): Promise<ManagedObject> {
  if (references.length === 0) return withDigestsIfOpen(keyRing, object);
  return references.some(isDigest) ? withDigests(keyRing, object) : object;
}

function distinct(references: readonly AttributeReference[]): readonly AttributeReference[] {
  const byName = new Map(references.map((reference) => [nameOf(reference), reference]));
  return [...byName.values()];
}

function nameOf({ tag, key }: AttributeReference): string {
  return `${tag} ${key}`;
}
