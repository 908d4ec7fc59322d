import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseConfig } from "@holdfast/server";
import { expect, test } from "vitest";
import { documents } from "./generate.ts";

const root = join(import.meta.dirname, "..", "..");

test.each(Object.entries(documents))(
  "%s is what the tables say (else: npm run docs)",
  (path, make) => {
    expect(readFileSync(join(root, path), "utf8")).toBe(make());
  },
);

test.each([
  "deploy/holdfast.example.yaml",
  ...["a1", "a2", "b1", "b2"].map((node) => `deploy/compose/${node}.yaml`),
])("%s is a good configuration", (path) => {
  expect(parseConfig(readFileSync(join(root, path), "utf8"), path)).toBeTypeOf("object");
});
