import { configuration } from "./configuration.ts";

/** Every setting that holds the path of a file or folder, as `group.name`. */
export function fileSettings(): readonly string[] {
  const rows = configuration().matchAll(/^\| `([\w.]+)` \| the path of a file/gm);
  return [...rows].map(([, name = ""]) => name);
}

/** The names in backticks in a section of a page, up to the given text or to the section's end. */
export function settingsIn(page: string, heading: string, end = ""): ReadonlySet<string> {
  const [, section = ""] = page.split(`\n## ${heading}\n`);
  const [whole = ""] = section.split("\n## ");
  const text = end === "" ? whole : whole.slice(0, whole.indexOf(end));
  return new Set([...text.matchAll(/`([\w.]+)`/g)].map(([, name = ""]) => name));
}
