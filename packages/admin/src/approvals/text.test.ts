import { expect, test } from "vitest";
import { printable, printableJson } from "./text.ts";

test.each([
  ["a control character", "a\u001b[2Jb", "a\\u001b[2Jb"],
  ["a line end", "a\nb\u2028c", "a\\u000ab\\u2028c"],
  ["bidirectional characters", "a\u202eb\u2066c\u061cd", "a\\u202eb\\u2066c\\u061cd"],
  ["zero-width characters", "a\u200bb\u200dc\ufeffd\u00ade", "a\\u200bb\\u200dc\\ufeffd\\u00ade"],
  ["a filler that is a letter", "a\u3164b", "a\\u3164b"],
  ["a tag character", "a\u{e0061}b", "a\\udb40\\udc61b"],
])("%s is shown by its escape", (_, text, shown) => {
  expect(printable(text)).toBe(shown);
});

test("other texts are shown as they are", () => {
  const text = "Zürich 東京 مفتاح 🔑 \\ %e2";
  expect(printable(text)).toBe(text);
});

test("a call is shown on several lines, and read again it is the same", () => {
  const call = { body: { name: "finance\u202e\u200b\u{e0061}", labels: { "\u2066": "x" } } };
  const shown = printableJson(call);
  expect(shown).not.toMatch(/[^\n -~]/);
  expect(shown.split("\n")).toHaveLength(8);
  expect(JSON.parse(shown)).toEqual(call);
});
