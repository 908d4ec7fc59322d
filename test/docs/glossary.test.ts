import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..", "..");
const read = (...path: string[]) => readFileSync(join(root, ...path), "utf8");
const words = [...read("docs/glossary.md").matchAll(/^\| ([a-z ]+) \| /gm)]
  .map(([, word]) => word as string)
  .filter((word) => word !== "word");

test("the glossary has at most 25 words, each once", () => {
  expect(words.length).toBeGreaterThan(10);
  expect(words.length).toBeLessThanOrEqual(25);
  expect(new Set(words).size).toBe(words.length);
});

test("code and another page use every word of the glossary", () => {
  const pages = readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md") && name !== "glossary.md")
    .map((name) => read("docs", name));
  const code = readdirSync(join(root, "packages"), { recursive: true, encoding: "utf8" })
    .filter((path) => /^[^/]+\/src\/.*\.(ts|lua)$/.test(path) && !/\.test\.ts$/.test(path))
    .map((path) => read("packages", path));
  const unused = words.filter((word) => {
    const form = new RegExp(`\\b${word.replace(" ", "[\\s*]+")}(s|es)?\\b`, "i");
    return ![pages, code].every((texts) => texts.some((text) => form.test(text)));
  });
  expect(unused).toEqual([]);
});

test.each(["README.md", "docs/architecture.md", "docs/guarantees.md"])(
  "%s links to the glossary",
  (path) => {
    expect(read(path)).toMatch(/\]\((docs\/)?glossary\.md\)/);
  },
);
