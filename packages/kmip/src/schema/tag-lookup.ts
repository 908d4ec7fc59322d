import { type TagName, type TagRow, tags } from "./tags.ts";
import { type Version, within } from "./version.ts";

const names: ReadonlyMap<number, TagName> = new Map(
  Object.entries(tags).map(([name, row]) => [row.tag, name as TagName]),
);

/** The name of a tag in the table: its text in the XML and JSON encodings. */
export function tagNameOf(tag: number): TagName | undefined {
  return names.get(tag);
}

/** Whether a version has a tag. */
export function isKnownTag(tag: number, version: Version): boolean {
  const name = names.get(tag);
  if (name === undefined) return false;
  const { since, until }: TagRow = tags[name];
  return within(version, since, until);
}

/** Whether values of a tag must never be shown. */
export function isSecretTag(tag: number): boolean {
  const name = names.get(tag);
  return name !== undefined && (tags[name] as TagRow).secret === true;
}

/** How an error names a tag: by its name in the specification, or in hex. */
export function labelOf(tag: number): string {
  const name = names.get(tag);
  return name === undefined ? `tag 0x${tag.toString(16).padStart(6, "0")}` : tags[name].name;
}
