import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { enumerations, masks, type ValueRow } from "../schema/enums.ts";
import { type TagRow, tags } from "../schema/tags.ts";
import { type Version, versions } from "../schema/version.ts";
import { operations } from "./operations.ts";

const corpus =
  process.env["KMIP_CORPUS"] ?? join(import.meta.dirname, "../../../../../shared/oasis");
const there = ["tags.json", "enums.json"].every((name) => existsSync(join(corpus, name)));

interface Listed {
  readonly value: string;
  readonly name: string;
  readonly text: string;
  readonly added: Version;
  readonly last: Version;
  readonly aliases?: readonly string[];
}

interface ListedEnumeration {
  readonly text: string;
  readonly kind: string;
  readonly values: readonly Listed[];
}

const read = <T>(name: string): T => JSON.parse(readFileSync(join(corpus, name), "utf8")) as T;

interface Row {
  readonly value: number;
  readonly since?: Version | undefined;
  readonly until?: Version | undefined;
}

const newest = versions[versions.length - 1];
/** A row with its first and last version given explicitly. */
const span = (row: Row) => [row.value, row.since ?? "1.0", row.until ?? newest];
const listedSpan = ({ value, added, last }: Listed) => [Number(value), added, last];
const rowOf = (row: ValueRow): Row => (typeof row === "number" ? { value: row } : row);

describe.skipIf(!there)(
  "the tables agree with the lists made from the specifications (needs KMIP_CORPUS)",
  () => {
    test("on the values, names and versions of tags", () => {
      const { tags: listed } = read<{ tags: readonly Listed[] }>("tags.json");
      const named = listed.filter((tag) => Object.hasOwn(tag, "text") && tag.text !== "");
      expect(named.length).toBeGreaterThan(360);
      const ours = Object.entries(tags).map(([text, row]: [string, TagRow]) => [
        text,
        row.name,
        ...span({ value: row.tag, since: row.since, until: row.until }),
      ]);
      const theirs = named.map((tag) => [tag.text, tag.name, ...listedSpan(tag)]);
      const byValue = (a: readonly unknown[], b: readonly unknown[]) => Number(a[2]) - Number(b[2]);
      expect(ours.toSorted(byValue)).toEqual(theirs.toSorted(byValue));
    });

    const listed = there ? read<{ enums: readonly ListedEnumeration[] }>("enums.json").enums : [];
    const tables: Readonly<Record<string, Readonly<Record<string, ValueRow>>>> = {
      ...enumerations,
      ...masks,
    };

    test("on the list of enumerations and masks", () => {
      const names = listed.map(({ text }) => text);
      expect(names.filter((name) => tables[name] === undefined)).toEqual([]);
      expect(Object.keys(tables).filter((name) => !names.includes(name))).toEqual([]);
    });

    test.each(listed.map((one) => [one.text, one] as const))("on %s", (name, one) => {
      const ours = Object.entries(tables[name] ?? {}).map(([text, row]) => [
        text,
        ...span(rowOf(row)),
      ]);
      const theirs = one.values.map((value) => [value.text, ...listedSpan(value)]);
      const byText = (a: readonly unknown[], b: readonly unknown[]) =>
        String(a[0]).localeCompare(String(b[0]));
      expect(ours.toSorted(byText)).toEqual(theirs.toSorted(byText));
    });
  },
);

test("every operation of the enumeration has a row, with its code and versions", () => {
  const rows = Object.entries(operations).map(([name, { code, since }]) => [name, code, since]);
  const values = Object.entries(enumerations.Operation).map(([name, row]) => {
    const { value, since = "1.0" } = rowOf(row);
    return [name, value, since];
  });
  const byCode = (a: readonly unknown[], b: readonly unknown[]) => Number(a[1]) - Number(b[1]);
  expect(rows.toSorted(byCode)).toEqual(values.toSorted(byCode));
});

test("no two tags, values of an enumeration or bits of a mask are the same in a version", () => {
  for (const version of versions) {
    for (const [name, rows] of Object.entries({ ...enumerations, ...masks })) {
      const values = Object.values<ValueRow>(rows)
        .map(rowOf)
        .filter((row) => (row.since ?? "1.0") <= version && version <= (row.until ?? "9"))
        .map((row) => row.value);
      expect(new Set(values).size, `${name} in ${version}`).toBe(values.length);
    }
  }
  const all = Object.values(tags).map((row) => row.tag);
  expect(new Set(all).size).toBe(all.length);
});
