import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { contract, type Route } from "@holdfast/admin";
import { operationRow, operations } from "@holdfast/kmip";
import { expect, test } from "vitest";
import { actions } from "./actions.ts";

const packages = join(import.meta.dirname, "..", "..", "..");
const sources = ["engine", "regions", "server"].flatMap((name) => {
  const src = join(packages, name, "src");
  return readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter(
      (file) => file.endsWith(".ts") && !/\.test\.ts$|audit\/(actions|cadf-reasons)/.test(file),
    )
    .filter((file) => !file.endsWith("audit-words.ts"))
    .map((file) => readFileSync(join(src, file), "utf8"));
});

test("every action is named by an operation, by a route, or by the code that audits it", () => {
  const columns = new Set([
    ...Object.keys(operations).map((name) => operationRow(name)?.audit),
    ...Object.values<Route>(contract).map(({ audit }) => audit),
  ]);
  const named = (action: string) => sources.some((text) => text.includes(`"${action}"`));
  const unused = Object.keys(actions).filter((action) => !columns.has(action) && !named(action));
  expect(unused).toEqual([]);
});
