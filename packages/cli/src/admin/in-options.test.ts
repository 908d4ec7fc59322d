import { AdminProblem, type Contract } from "@holdfast/admin";
import { expect, test } from "vitest";
import { operations } from "./build.ts";
import { inOptions } from "./in-options.ts";

function told(name: keyof Contract, detail: string): string {
  const operation = operations().find((one) => one.name === name);
  if (operation === undefined) throw new Error(name);
  const error = new AdminProblem(400, { code: "invalid", detail }, undefined);
  const made = inOptions(operation, error) as AdminProblem;
  expect(made).toMatchObject({ status: 400, code: "invalid" });
  return made.message;
}

test.each<[keyof Contract, string, string]>([
  ["setUser", "body.password must have at least 12", "--password-file: must have at least 12"],
  ["signRequest", "body.days must be at most 3650", "--days must be at most 3650"],
  ["signRequest", "body.csr must have at least 32", "--csr must have at least 32"],
  ["listEvents", "query.limit must be at least 1", "--limit must be at least 1"],
  ["listEvents", "query.cursor: belongs to another list", "--cursor: belongs to another list"],
  ["listKeys", "query.createdAfter must be a time", "--created-after must be a time"],
  ["readKey", "params.key must be a lower-case UUID", "<key> must be a lower-case UUID"],
  ["updateInstance", "body.labels.a b is wrong", "--labels: a b is wrong"],
  ["configureRoot", "body.regions.a.rootKey is missing", "--root: a.rootKey is missing"],
  ["createInstance", "body.rootOfTrust.regions.a.pin is wrong", "--root: a.pin is wrong"],
  ["destroyKey", "give force=true and confirm=IDENTIFIER", "give --force and --confirm IDENTIFIER"],
  ["readKey", "key not found", "key not found"],
  [
    "listKeys",
    "instance not found",
    "instance not found: `holdfast instance list` shows the instances",
  ],
])("a refusal of %s is shown in terms of options: %s", (name, detail, words) => {
  expect(told(name, detail)).toBe(words);
});
