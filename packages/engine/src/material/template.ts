import {
  type Attribute,
  type AttributeSet,
  attributeByTag,
  attributeItem,
  KmipError,
  objectValue,
} from "@holdfast/kmip";
import type { OperationContext } from "../ports/operation-context.ts";
import { objectTypeName } from "../record/object-type.ts";
import type { ManagedObject } from "../record/record.ts";
import { registersMax } from "../record/registers.ts";
import { termFor } from "../system/index-terms.ts";
import { healing } from "./healing.ts";
import { openObject } from "./material.ts";

/** Most objects that are checked for one name; a join may have left several with it. */
const foundMax = 16;

/**
 * The attributes of a request together with those of the Templates that it names. Of a single-valued attribute the last
 * value counts, and the request's own before all; of a multi-valued attribute all values count (KMIP 1.4, 4).
 */
export function withTemplates(
  context: OperationContext,
  set: AttributeSet,
): readonly Attribute[] | Promise<readonly Attribute[]> {
  return set.templateNames.length === 0 ? set.attributes : expanded(context, set);
}

async function expanded(
  context: OperationContext,
  { attributes, templateNames }: AttributeSet,
): Promise<readonly Attribute[]> {
  let merged: readonly Attribute[] = [];
  for (const name of templateNames) {
    merged = over(merged, await templateAttributes(context, name));
    // Such a request is refused in the end anyway; until then each name could add a megabyte.
    if (merged.length > registersMax) throw tooManyAttributes();
  }
  return over(merged, attributes);
}

/** Single values of `later` replace those of `earlier`. */
function over(earlier: readonly Attribute[], later: readonly Attribute[]): readonly Attribute[] {
  const replaced = new Set(
    later.flatMap(({ item: { tag } }) => (attributeByTag(tag)?.multi === false ? [tag] : [])),
  );
  return [...earlier.filter(({ item }) => !replaced.has(item.tag)), ...later];
}

async function templateAttributes(
  context: OperationContext,
  name: string,
): Promise<readonly Attribute[]> {
  const wanted = attributeItem("Name", { value: name, type: "UninterpretedTextString" });
  const term = termFor(wanted);
  const page = await context.objects.find({
    ...(term === undefined ? {} : { term }),
    live: true,
    destroyed: false,
    limit: foundMax,
  });
  const template = page.objects.find(({ object }) => isTemplate(object));
  if (template === undefined) throw new KmipError("templateNotFound", "Template not found");
  const open = (object: ManagedObject) => openObject(context.keyRing, object);
  const { result: object } = await healing(context, template, open);
  return objectValue("Template", object).attributes.filter(({ item }) => item.tag !== wanted.tag);
}

function tooManyAttributes(): KmipError {
  return new KmipError("tooManyAttributes", `an object has at most ${registersMax} attributes`);
}

/** Whether an object is a Template, which has no State in any version (KMIP 1.4, 3.22). */
export function isTemplate({ objectType }: ManagedObject): boolean {
  return objectTypeName(objectType) === "Template";
}
