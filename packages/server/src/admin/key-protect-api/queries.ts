import { badQuery } from "./refusals.ts";

/** The part of a list that a query asks for. */
interface Window {
  readonly limit: number;
  readonly offset: number;
  readonly totalCount: boolean;
}

/** The parameters of a route's query, by name: how a text is read. */
interface QueryRows {
  readonly [name: string]: (text: string, name: string) => unknown;
}

type Read<Rows extends QueryRows> = {
  readonly [Name in keyof Rows]?: ReturnType<Rows[Name]>;
};

const offsetMax = 1_000_000;
const limitUsual = 100;

/** `true` or `false`. Python writes them with a capital. */
export function truth(text: string, name: string): boolean {
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  throw badQuery(name, "true or false");
}

/** States of objects by number: `1,2,3`. */
export function states(text: string, name: string): readonly number[] {
  if (/^[1-6](,[1-6]){0,5}$/.test(text)) return [...new Set(text.split(",").map(Number))];
  throw badQuery(name, "numbers from 1 to 6 with commas between, such as 1,2");
}

/** The identifier or alias of a root key. */
export function rootKey(text: string, name: string): string {
  if (text !== "" && text.length <= 256) return text;
  throw badQuery(name, "the identifier or alias of a root key");
}

/** The rows of a list. */
export function windowRows(limitMax: number) {
  return {
    limit: (text: string, name: string) => wholeNumber(text, name, 1, limitMax),
    offset: (text: string, name: string) => wholeNumber(text, name, 0, offsetMax),
    totalCount: truth,
  };
}

/** The parts of a list's query that choose from it, with their defaults. */
export function windowOf({ limit, offset, totalCount }: Partial<Window>): Window {
  return { limit: limit ?? limitUsual, offset: offset ?? 0, totalCount: totalCount ?? false };
}

/** Reads a query; throws a `Refusal` for an unknown, repeated or invalid parameter. */
export function readQuery<Rows extends QueryRows>(rows: Rows, query: unknown): Read<Rows> {
  const read = Object.entries((query ?? {}) as object).map(([name, text]: [string, unknown]) => {
    const row = Object.hasOwn(rows, name) ? rows[name] : undefined;
    if (row === undefined) {
      const known = Object.keys(rows).join(", ");
      throw badQuery(name.slice(0, 64), known === "" ? "left out" : `one of ${known}`);
    }
    if (typeof text !== "string") throw badQuery(name, "given only once");
    return [name, row(text, name)];
  });
  return Object.fromEntries(read) as Read<Rows>;
}

function wholeNumber(text: string, name: string, min: number, max: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw badQuery(name, `a whole number from ${min} to ${max}`);
}
