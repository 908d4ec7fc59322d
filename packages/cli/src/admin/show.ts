import type { Layout } from "@holdfast/admin";
import { complain, say } from "../terminal/lines.ts";
import { type Json, plain, sayJson } from "../terminal/output.ts";
import { listLines, thingLines } from "../terminal/print.ts";
import type { Operation } from "./build.ts";
import { blockLines, withoutBlocks } from "./outputs.ts";

/** What decides how an answer is shown. */
export interface ShowOptions {
  readonly json?: true;
  readonly wide?: unknown;
}

type Thing = Readonly<Record<string, Json>>;

const widthUsual = 80;

/** The columns of the terminal; undefined with `--wide` or if standard output is not a terminal. */
function screenWidth({ wide }: ShowOptions): number | undefined {
  if (wide === true || process.stdout.isTTY !== true) return undefined;
  return process.stdout.columns || widthUsual;
}

/** Prints an answer: as JSON, as a list or as one object. */
export function showAnswer(operation: Operation, answer: Thing, options: ShowOptions): void {
  const { row, name } = operation;
  const items = answer["items"];
  if (options.json === true || name === "readOpenApi") sayJson(answer);
  else if (Array.isArray(items) && row.list !== undefined) {
    showList(name === "runChecks" ? worstFirst(items) : items, row.list, options);
    showNext(answer["next"], options);
    showNotes(answer["notes"]);
  } else {
    const lines = thingLines(withoutBlocks(row, answer), screenWidth(options));
    say(lines, blockLines(row, answer));
  }
  const failed = (item: Json) => (item as Thing)["state"] === "failed";
  if (name === "runChecks" && Array.isArray(items) && items.some(failed)) process.exitCode = 1;
}

/** Prints a list. A continuation of `earlier` rows has no headings, and the same column widths. */
export function showList(
  items: readonly unknown[],
  layout: Layout,
  options: ShowOptions,
  earlier?: readonly unknown[],
): void {
  if (items.length === 0 && earlier === undefined) complain(`no ${layout.of}`);
  const { lines, cut } = listLines([...(earlier ?? []), ...items], layout, screenWidth(options));
  say(earlier === undefined ? lines : lines.slice(1 + earlier.length));
  if (cut.length > 0 && earlier === undefined) {
    complain(`--wide shows all of ${cut.join(", ")}`);
  }
}

/** What to know about a list as a whole. */
function showNotes(notes: Json | undefined): void {
  if (!Array.isArray(notes)) return;
  for (const note of notes) complain(plain(note as Json));
}

/** Says how to get the next page, if there is one. A cursor is wider than a terminal. */
export function showNext(cursor: Json | undefined, options: ShowOptions): void {
  if (cursor === undefined) return;
  const text =
    screenWidth(options) === undefined
      ? `more with --cursor ${String(cursor)}, or --all`
      : "more with --all; --wide shows the cursor";
  complain(text);
}

const states: readonly Json[] = ["failed", "warning"];

function worstFirst(checks: readonly Json[]): readonly Json[] {
  const rank = (check: Json) => (states.indexOf((check as Thing)["state"] ?? "") + 3) % 3;
  return checks.toSorted((one, other) => rank(one) - rank(other));
}
