import { createProgram } from "@holdfast/cli";
import type { Words } from "./shell.ts";

type Command = Awaited<ReturnType<typeof createProgram>>;

interface Option {
  readonly long: string;
  /** Whether a value follows, and the allowed values; none means any. */
  readonly value: boolean;
  readonly among: Words;
}

/** The options and arguments of a command. */
interface Takes {
  /** By its long and short names. */
  readonly options: ReadonlyMap<string, Option>;
  readonly needed: Words;
  /** Names of subcommands; empty at a leaf. */
  readonly commands: Words;
  /** How many arguments at least and at most. */
  readonly least: number;
  readonly most: number;
}

const program = await createProgram();
const known = new Map<string, Takes>();
const placeholder = /^[A-Z0-9_-]+$|^\$/;

/**
 * What is wrong with the arguments of a `holdfast` command line; undefined if nothing is. A sketch in running text
 * may leave out required parts.
 */
export function wrongIn(
  words: Words,
  { sketch }: { readonly sketch: boolean },
): string | undefined {
  if (words.length === 1 && words[0] === "--version") return undefined;
  const path: string[] = [];
  let rest = words;
  let takes = takesOf(path);
  while (rest[0] !== undefined && takes.commands.includes(rest[0])) {
    path.push(rest[0]);
    rest = rest.slice(1);
    takes = takesOf(path);
  }
  const name = ["holdfast", ...path].join(" ");
  if (takes.commands.length > 0 && (rest.length > 0 || !sketch)) {
    return `${name}: there is no command ${rest[0] ?? "(none given)"}`;
  }
  return wrongArguments(rest, takes, sketch, name);
}

/** Arguments and options, each option with its value. */
function sorted(rest: Words, { options }: Takes) {
  const args: string[] = [];
  const given: (readonly [word: string, option: Option | undefined, value: string | undefined])[] =
    [];
  const left = [...rest];
  for (let next = left.shift(); next !== undefined; next = left.shift()) {
    if (!next.startsWith("-") || next === "-") {
      // The value of a variable is unknown.
      if (!next.startsWith("$")) args.push(next);
      continue;
    }
    const [word = "", inline] = next.split(/=(.*)/s);
    const option = options.get(word);
    given.push([word, option, inline ?? (option?.value === true ? left.shift() : undefined)]);
  }
  return { args, given };
}

function wrongArguments(rest: Words, takes: Takes, sketch: boolean, name: string) {
  const { args, given } = sorted(rest, takes);
  for (const [word, option, value] of given) {
    if (option === undefined) return `${name}: there is no option ${word}`;
    if (option.value && value === undefined && !sketch) return `${name}: ${word} needs a value`;
    const free = value === undefined || placeholder.test(value) || option.among.length === 0;
    if (!free && !option.among.includes(value)) return `${name}: ${word} is never ${value}`;
  }
  const [count, names] = [args.length, given.map(([, option]) => option?.long)];
  if (count > takes.most) return `${name}: ${count} arguments, of at most ${takes.most}`;
  if (sketch) return undefined;
  if (count < takes.least) return `${name}: ${count} arguments, of at least ${takes.least}`;
  const missing = takes.needed.find((one) => !names.includes(one));
  return missing === undefined ? undefined : `${name}: ${missing} is needed`;
}

function takesOf(path: Words): Takes {
  const key = path.join(" ");
  const takes = known.get(key) ?? treeOf(path);
  known.set(key, takes);
  return takes;
}

function treeOf(path: Words): Takes {
  const line: Command[] = [program];
  for (const name of path) {
    const next = line.at(-1)?.commands.find((command) => command.name() === name);
    if (next !== undefined) line.push(next);
  }
  const command = line.at(-1) ?? program;
  const options = line.flatMap((one) => one.options);
  const entries = options.flatMap(({ long, short, required, optional, argChoices = [] }) =>
    [long, short].flatMap((name) =>
      name == null || long == null
        ? []
        : [[name, { long, value: required || optional, among: argChoices }] as const],
    ),
  );
  const args = command.registeredArguments;
  return {
    options: new Map([...entries, ["--help", { long: "--help", value: false, among: [] }]]),
    needed: command.options.filter(({ mandatory }) => mandatory).map(({ long }) => long ?? ""),
    commands: command.commands.map((one) => one.name()).filter((name) => name !== "help"),
    least: args.filter((one) => one.required).length,
    most: args.some((one) => one.variadic) ? Number.POSITIVE_INFINITY : args.length,
  };
}
