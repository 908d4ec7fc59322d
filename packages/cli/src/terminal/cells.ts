import { stateText } from "@holdfast/kmip";
import { type Json, plain } from "./output.ts";

/**
 * A column of a list: its heading, the path of its value in an item, and its format: with `colons`,
 * `whole` (not cut when others are), or `short` (a time without year if the line is too narrow).
 */
export interface Column {
  readonly heading: string;
  readonly path: string;
  readonly format: string | undefined;
}

/** Reads `HEADING=path` or `HEADING=path|format`. */
export function columnOf(text: string): Column {
  const [heading = "", rest = ""] = text.split("=");
  const [path = "", format] = rest.split("|");
  return { heading, path, format };
}

/** What a column shows of an item, on one line; empty if the item has no value for it. */
export function cellOf(item: unknown, { path, format }: Column): string {
  let value = item as Json | undefined;
  for (const step of path.split(".")) {
    value = (value as Readonly<Record<string, Json>> | null | undefined)?.[step];
  }
  if (format === "colons") return withColons(String(value ?? ""));
  if (format === "short") return cell(value).replace(wholeTime, "$1 $2");
  return cell(value);
}

const wholeTime = /^\d{4}-(\d\d-\d\d)T([\d:]{8})Z$/;

/** Writes a fingerprint as vCenter and OpenSSL show it. */
function withColons(hex: string): string {
  return hex.toUpperCase().replaceAll(/(..)(?=.)/g, "$1:");
}

/** The value of a single field, on one line. */
export function valueText(value: Json): string {
  return isApplied(value) ? appliedText(value) : plain(timed(value));
}

/** Whether a value says, by region, whether a change has arrived there. */
export function isApplied(
  value: Json | undefined,
): value is Readonly<Record<string, "applied" | "pending">> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const states = Object.values(value);
  return states.length > 0 && states.every((each) => each === "applied" || each === "pending");
}

/** `a, b (pending)`: the regions, and which of them do not have it yet. */
function appliedText(regions: Readonly<Record<string, "applied" | "pending">>): string {
  return Object.entries(regions)
    .map(([region, state]) => (state === "pending" ? `${region} (pending)` : region))
    .join(", ");
}

/** Regions and counts on one line: `a:Installed b:Inactive`. */
function cell(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  if (typeof value !== "object" || Array.isArray(value)) return plain(timed(value));
  if (isApplied(value)) return appliedText(value);
  return Object.entries(value)
    .map(
      ([name, each]) =>
        `${stateText(name)}:${typeof each === "object" ? statusOf(each) : plain(each)}`,
    )
    .join(" ");
}

function statusOf(value: Json): string {
  const { status, state } = (value ?? {}) as Readonly<Record<string, Json>>;
  return plain(status ?? state ?? value);
}

const utc = /\b(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:?00)(?![\w:])/g;

/** Writes every time in one format: `2026-11-25T20:12:09Z`. */
function timed(value: Json): Json {
  if (typeof value === "string") return value.replaceAll(utc, "$1Z");
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(timed);
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, timed(each)]));
}
