import { writeFileSync } from "node:fs";
import type { CommandRow } from "@holdfast/admin";
import { reasonOf, refuseExisting } from "../terminal/failure.ts";
import { complain } from "../terminal/lines.ts";
import { type Json, plain } from "../terminal/output.ts";
import { camel } from "./fields.ts";

type Thing = Readonly<Record<string, Json>>;

/** A field of the answer that goes into a file. */
interface Output {
  readonly field: string;
  readonly option: string;
  readonly path: string;
}

/** The fields that go into files. Throws a `Failure` if a file exists, before any request. */
export function outputsOf(
  { output = [] }: CommandRow,
  given: Readonly<Record<string, unknown>>,
): readonly Output[] {
  return output.flatMap(({ field, option }) => {
    const path = given[camel(option)];
    if (typeof path !== "string") return [];
    refuseExisting(`--${option}`, path);
    return [{ field, option, path }];
  });
}

const faults: Readonly<Record<string, string>> = {
  EEXIST: "exists already",
  ENOENT: "its directory does not exist",
  ENOTDIR: "its directory does not exist",
  EACCES: "permission denied",
};

/** Writes these fields to their files; in the answer to print, the paths replace them. */
export function keepOutputs(outputs: readonly Output[], answer: Thing): Thing {
  const rest: Record<string, Json> = { ...answer };
  for (const { field, option, path } of outputs) {
    const text = rest[field];
    if (typeof text !== "string") continue;
    try {
      writeFileSync(path, text.endsWith("\n") ? text : `${text}\n`, { mode: 0o600, flag: "wx" });
      rest[field] = path;
    } catch (error) {
      // The service shows a secret only once: it is printed, so that it is not lost.
      const code = error instanceof Error && "code" in error ? String(error.code) : "";
      const what = faults[code] ?? reasonOf(error);
      complain(`--${option} ${path}: ${what}; printed instead`);
    }
  }
  return rest;
}

/** An answer without texts of several lines, such as PEM: these are printed below or in files. */
export function withoutBlocks(row: CommandRow, answer: Thing): Thing {
  const blocks = new Set(multilineOf(row, answer).map(([field]) => field));
  return Object.fromEntries(Object.entries(answer).filter(([field]) => !blocks.has(field)));
}

/** The texts of several lines, line by line, so that they can be copied. */
export function blockLines(row: CommandRow, answer: Thing): readonly string[] {
  return blocksOf(row, answer).flatMap(([field, text]) => {
    const lines = text.trimEnd().split(/\r?\n/);
    return ["", `${field}:`, ...lines.map((line) => plain(line))];
  });
}

function blocksOf(row: CommandRow, answer: Thing): readonly (readonly [string, string])[] {
  const files = (row.output ?? []).filter(({ onlyFile }) => onlyFile).map(({ field }) => field);
  return multilineOf(row, answer).filter(([field]) => !files.includes(field));
}

function multilineOf(
  { output = [] }: CommandRow,
  answer: Thing,
): readonly (readonly [string, string])[] {
  return output.flatMap(({ field }) => {
    const text = answer[field];
    return typeof text === "string" && text.trimEnd().includes("\n")
      ? [[field, text] as const]
      : [];
  });
}
