import { randomUUID } from "node:crypto";
import type { KmipClient } from "@holdfast/client";
import { attributeItem, attributes, attributeValue, type Response } from "@holdfast/kmip";

/** Attributes that clients change: one with several values, one with a single value. */
export const changing = { group: "Object Group", note: "Contact Information" } as const;

const tags = {
  [changing.group]: attributes.ObjectGroup.tag,
  [changing.note]: attributes.ContactInformation.tag,
} as const;
export type Changing = keyof typeof tags;

/** What Get Attributes asks for to see their values. */
export const changingReferences = Object.values(tags).map((tag) => ({ tag, key: "" }));

/** A value of one of them, as a request has it. */
export function itemOf(attribute: Changing, value: string) {
  const name = attribute === changing.group ? "ObjectGroup" : "ContactInformation";
  return attributeItem(name, value);
}

/** The version of requests for attributes: it tells an absent value from an absent object. */
export const version = "2.1";

/** A value that no object has. */
export function newText(): string {
  return randomUUID().slice(0, 13);
}

/** Puts an object into a group: the request, and how the history calls it. */
export function groupAdded(uniqueIdentifier: string, value: string) {
  const newAttribute = { item: itemOf(changing.group, value) };
  return {
    asked: { operation: "AddAttribute", attribute: changing.group, value } as const,
    send: (session: KmipClient) =>
      session.addAttribute({ uniqueIdentifier, newAttribute }, { version }),
  };
}

/** Their values in an answer of Get Attributes. */
export function valuesIn({
  attributes: given,
}: Response<"GetAttributes">): Readonly<Record<string, readonly string[]>> {
  const of = (tag: number) => given.map(({ item }) => item).filter((item) => item.tag === tag);
  return {
    [changing.group]: of(tags[changing.group]).map((item) =>
      String(attributeValue("ObjectGroup", item)),
    ),
    [changing.note]: of(tags[changing.note]).map((item) =>
      String(attributeValue("ContactInformation", item)),
    ),
  };
}
