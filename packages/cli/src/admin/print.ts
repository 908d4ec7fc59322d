import Table from "cli-table3";
import { type Json, plain, table } from "../output.ts";

/** A list for people: headings and rows without lines, cut by nothing. */
export function listLines(
  items: readonly unknown[],
  columns: readonly string[],
): readonly string[] {
  if (items.length === 0) return [];
  const parts = columns.map((column) => column.split("=") as [string, string]);
  const shown = parts.filter(([, path]) => items.some((item) => cell(at(item, path)) !== ""));
  const made = new Table({
    head: shown.map(([heading]) => heading),
    chars: bare,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 2 },
  });
  for (const item of items) made.push(shown.map(([, path]) => cell(at(item, path))));
  return made
    .toString()
    .split("\n")
    .map((line) => line.trimEnd());
}

/** One thing for people: names and values, what is empty left out. */
export function thingLines(thing: Readonly<Record<string, Json>>): readonly string[] {
  const rows = Object.entries(thing).flatMap(([name, value]): [string, Json][] => {
    if (isList(value)) return value.map((each, index) => [`${name}[${index}]`, each]);
    return opened(name, value);
  });
  return table(rows.filter(([, value]) => plain(value) !== ""));
}

/** A row for each part of what holds others, however deep: an endpoint is to be found at a glance. */
function opened(name: string, value: Json): [string, Json][] {
  if (!isNested(value)) return [[name, value]];
  return Object.entries(value as Readonly<Record<string, Json>>).flatMap(([inner, each]) =>
    opened(`${name}.${inner}`, each),
  );
}

const none = "";
const bare = {
  top: none,
  "top-mid": none,
  "top-left": none,
  "top-right": none,
  bottom: none,
  "bottom-mid": none,
  "bottom-left": none,
  "bottom-right": none,
  left: none,
  "left-mid": none,
  mid: none,
  "mid-mid": none,
  right: none,
  "right-mid": none,
  middle: none,
};

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value) && value.some((each) => typeof each === "object");
}

function isNested(value: Json): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).some((each) => typeof each === "object" && each !== null)
  );
}

function at(item: unknown, path: string): Json | undefined {
  let value = item as Json | undefined;
  for (const step of path.split(".")) {
    value = (value as Readonly<Record<string, Json>> | null | undefined)?.[step];
  }
  return value;
}

/** Regions and counts on one line: `a:Installed b:Inactive`. */
function cell(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  if (typeof value !== "object" || Array.isArray(value)) return plain(value);
  return Object.entries(value)
    .map(([name, each]) => `${name}:${typeof each === "object" ? statusOf(each) : plain(each)}`)
    .join(" ");
}

function statusOf(value: Json): string {
  const { status, state } = (value ?? {}) as Readonly<Record<string, Json>>;
  return plain(status ?? state ?? value);
}
