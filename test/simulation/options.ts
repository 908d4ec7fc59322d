import { parseArgs } from "node:util";
import { type Flaw, flawNames } from "./flaws.ts";
import { focuses, focusSeparator } from "./plan.ts";

/** The options of `npm run simulate`. */
export interface Options {
  readonly seed: number;
  readonly histories: number;
  readonly flaw: Flaw | undefined;
  readonly focus: string | undefined;
  /** No new history is begun after so many minutes. */
  readonly minutes: number;
  /** Whether to count which lines of the product and of Lua the histories reach. */
  readonly coverage: boolean;
  readonly trace: boolean;
  readonly enumerate: boolean;
  readonly states: number;
  readonly story: boolean;
  /** The maximum number of events in a story. */
  readonly limit: number;
  /** The file for the page that plays the history. */
  readonly html: string | undefined;
}

/** A command line that does not fit; its message is one line. */
export class BadOption extends Error {
  override readonly name = "BadOption";
}

const numberMax = Number.MAX_SAFE_INTEGER;

/** Reads a command line; throws `BadOption` if it does not fit. */
export function parseOptions(args: readonly string[]): Options {
  const values = valuesOf(args);
  const { trace, enumerate, story, html, coverage, minutes } = values;
  const told = story || html !== undefined;
  for (const [isWrong, message] of contradictions(values, told)) {
    if (isWrong) throw new BadOption(message);
  }
  return {
    seed: whole("--seed", values.seed ?? "1", 0, numberMax),
    histories: told
      ? 1
      : whole("--histories", values.histories ?? historiesIn(minutes), 1, numberMax),
    minutes:
      minutes === undefined ? Number.POSITIVE_INFINITY : whole("--minutes", minutes, 1, 10_000),
    coverage,
    flaw: oneOf("--flaw", values.flaw, flawNames),
    focus: focusIn(values.focus),
    trace,
    enumerate,
    states:
      values.states === undefined
        ? Number.POSITIVE_INFINITY
        : whole("--states", values.states, 1, numberMax),
    story,
    limit: whole("--limit", values.limit ?? "80", 1, 100_000),
    html: html === "" ? empty("--html") : html,
  };
}

function contradictions(
  { histories, minutes, coverage, enumerate, story, limit, states }: ReturnType<typeof valuesOf>,
  told: boolean,
): readonly (readonly [isWrong: boolean, message: string])[] {
  return [
    [told && enumerate, "--story and --html tell of a history, not of --enumerate"],
    [
      told && histories !== undefined,
      "--story and --html tell of one history: leave out --histories",
    ],
    [
      told && (minutes !== undefined || coverage),
      "--minutes and --coverage belong to many histories",
    ],
    [limit !== undefined && !story, "--limit belongs to --story"],
    [states !== undefined && !enumerate, "--states belongs to --enumerate"],
  ];
}

/** Without a number: 2,000, or as many as there is time for. */
function historiesIn(minutes: string | undefined): string {
  return minutes === undefined ? "2000" : String(numberMax);
}

function valuesOf(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        histories: { type: "string" },
        seed: { type: "string" },
        flaw: { type: "string" },
        focus: { type: "string" },
        minutes: { type: "string" },
        coverage: { type: "boolean", default: false },
        trace: { type: "boolean", default: false },
        enumerate: { type: "boolean", default: false },
        states: { type: "string" },
        story: { type: "boolean", default: false },
        limit: { type: "string" },
        html: { type: "string" },
      },
    });
    return values;
  } catch (error) {
    const [line = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
    throw new BadOption(line);
  }
}

function whole(name: string, text: string, low: number, high: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= low && value <= high) return value;
  const range = high === numberMax ? `from ${low} on` : `from ${low} to ${high}`;
  throw new BadOption(`${name} is a whole number ${range}, not ${JSON.stringify(text)}`);
}

function oneOf<Name extends string>(
  option: string,
  text: string | undefined,
  names: readonly Name[],
): Name | undefined {
  if (text === undefined) return undefined;
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  throw new BadOption(
    `${option} ${JSON.stringify(text)} is not known; there are: ${names.join("; ")}`,
  );
}

/** One part or several; each must be known. */
function focusIn(text: string | undefined): string | undefined {
  for (const part of text?.split(focusSeparator) ?? []) oneOf("--focus", part, focuses);
  return text;
}

function empty(option: string): never {
  throw new BadOption(`${option} needs the name of a file`);
}
