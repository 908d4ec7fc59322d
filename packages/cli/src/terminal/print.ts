import type { Layout } from "@holdfast/admin";
import { type Column, cellOf, columnOf, isApplied, valueText } from "./cells.ts";
import { fits, fitted, gap, padded, type Wish, widthOf, wrapped } from "./fit.ts";
import { type Json, plain, table } from "./output.ts";

/** Lines of a list, and the headings of what was cut or left out. */
export interface Listed {
  readonly lines: readonly string[];
  readonly cut: readonly string[];
}

type Thing = Readonly<Record<string, Json>>;

const indent = 4;

/**
 * A list for people. Each line fits into `width` columns of a terminal. Without a width (a pipe, a
 * file, `--wide`) every column is printed in full, always under the same headings.
 */
export function listLines(
  items: readonly unknown[],
  { columns, below = [], wide = [], wrap }: Omit<Layout, "of">,
  width?: number,
): Listed {
  if (items.length === 0) return { lines: [], cut: [] };
  if (width === undefined) {
    const all = inFull([...columns, ...below, ...wide].map(columnOf));
    const widths = wishesOf(items, all).map((wish) => wish.width);
    return { lines: rendered(items, all, widths).flat(), cut: [] };
  }
  const filled = columns
    .map(columnOf)
    .filter((column) => items.some((item) => cellOf(item, column) !== ""));
  const used = fits(wishesOf(items, inFull(filled)), width) ? inFull(filled) : filled;
  const wishes = wishesOf(items, used);
  const widths = fitted(wishes, width);
  const cut = used.filter(({ heading, format }, at) => {
    const width = widths[at];
    return (
      format === "short" ||
      width === undefined ||
      (width < (wishes[at]?.width ?? 0) && heading !== wrap)
    );
  });
  const shown = used.slice(0, widths.length);
  const [head = [], ...rows] = rendered(items, shown, widths, wrap);
  const under = below.map(columnOf);
  const lines = rows.flatMap((row, at) => [...row, ...belowLines(items[at], under, width)]);
  return { lines: [...head, ...lines], cut: cut.map(({ heading }) => heading) };
}

/** One object for people: names and values, without empty ones; lists follow as tables. */
export function thingLines(thing: Thing, width?: number): readonly string[] {
  const lists = Object.entries(thing).filter(([, value]) => isList(value));
  const rows = Object.entries(thing)
    .filter(([, value]) => !isList(value))
    .flatMap(([name, value]) => opened(words(name), value))
    .filter(([name, value]) => value !== "" && !(name === "pending" && !value.includes("(")));
  const names = Math.max(0, ...rows.map(([name]) => name.length)) + gap;
  const room = Math.max(indent, (width ?? Number.MAX_SAFE_INTEGER) - names);
  const fields = rows.flatMap(([name, value]) => {
    const [first = "", ...more] = wrapped(value, room);
    return [[name, first] as const, ...more.map((line) => ["", line] as const)];
  });
  const tables = lists.flatMap(([name, value]) => [
    "",
    `${words(name)}:`,
    ...innerLines(value as readonly Thing[], width).map((line) => " ".repeat(gap) + line),
  ]);
  return [...table(fields), ...tables];
}

/** A list inside an object, in full: the longest column wraps, or each field has its own line. */
function innerLines(items: readonly Thing[], width: number | undefined): readonly string[] {
  const keys = [...new Set(items.flatMap((item) => Object.keys(item)))];
  const longest = (key: string) => widest(items.map((item) => plain(item[key] ?? "")));
  const wrap = keys.reduce((one, other) => (longest(other) > longest(one) ? other : one), "");
  const columns = keys.map((key) => `${words(key).toUpperCase()}=${key}`);
  const inner = width === undefined ? undefined : width - gap;
  const { lines, cut } = listLines(items, { columns, wrap: words(wrap).toUpperCase() }, inner);
  if (cut.length === 0) return lines;
  return items.flatMap((item, at) => [...(at === 0 ? [] : [""]), ...thingLines(item, inner)]);
}

/** `rootOfTrust` as `root of trust`. */
function words(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** One row for each field of a nested value at any depth, so that an endpoint is easy to find. */
function opened(name: string, value: Json): [string, string][] {
  if (!isNested(value)) return [[name, valueText(value)]];
  return Object.entries(value as Readonly<Record<string, Json>>).flatMap(([inner, each]) =>
    opened(`${name}.${words(inner)}`, each),
  );
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value) && value.some((each) => typeof each === "object");
}

function isNested(value: Json): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !isApplied(value) &&
    Object.values(value).some((each) => typeof each === "object" && each !== null)
  );
}

/** The columns without their short form. */
function inFull(columns: readonly Column[]): readonly Column[] {
  return columns.map((one) => (one.format === "short" ? { ...one, format: undefined } : one));
}

/** A longer text is cut even in a column that is `whole`. */
const wholeMax = 35;

/** Values that would be useless if cut: times, UUIDs and numbers. */
const unbroken =
  /^((\d{4}-\d\d-\d\dT|\d\d-\d\d )[\d:]+Z?|[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}|[\d.]+)$/;

function wishesOf(items: readonly unknown[], columns: readonly Column[]): readonly Wish[] {
  return columns.map((column) => {
    const cells = items.map((item) => cellOf(item, column));
    const width = Math.max(widthOf(column.heading), widest(cells));
    const whole =
      (column.format === "whole" && width <= wholeMax) ||
      cells.every((text) => text === "" || unbroken.test(text));
    return { width, whole };
  });
}

/** The width of the widest text; there may be more than a call takes arguments. */
function widest(texts: readonly string[]): number {
  return texts.reduce((most, text) => Math.max(most, widthOf(text)), 0);
}

/** The lines of the heading, and of each row. */
function rendered(
  items: readonly unknown[],
  columns: readonly Column[],
  widths: readonly number[],
  wrap?: string,
): readonly (readonly string[])[] {
  const rows = [
    columns.map(({ heading }) => heading),
    ...items.map((item) => columns.map((column) => cellOf(item, column))),
  ];
  const wraps = columns.findIndex(({ heading }) => heading === wrap);
  return rows.map((row) => {
    const text = row[wraps] ?? "";
    const lines = wraps < 0 ? [""] : wrapped(text, widths[wraps] ?? widthOf(text));
    return lines.map((line, nth) =>
      row
        .map((whole, at) => (at === wraps ? line : nth === 0 ? whole : ""))
        .map((cell, at) => padded(cell, widths[at] ?? 0))
        .join(" ".repeat(gap))
        .trimEnd(),
    );
  });
}

function belowLines(item: unknown, columns: readonly Column[], width: number): readonly string[] {
  return columns.flatMap((column) => {
    const text = cellOf(item, column);
    if (text === "") return [];
    const heading = /^[A-Z]+$/.test(column.heading) ? column.heading.toLowerCase() : column.heading;
    const lines = wrapped(`${heading}: ${text}`, Math.max(narrow, width - indent));
    return lines.map((line) => " ".repeat(indent) + line);
  });
}

/** Narrower terminals get lines of this width. */
const narrow = 20;
