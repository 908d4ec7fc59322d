import { describe, expect, test } from "vitest";
import type { z } from "zod";
import { faultsOf } from "./faults.ts";
import { contract } from "./index.ts";
import type { Route } from "./route.ts";

function told(schema: z.ZodType, value: unknown): readonly string[] {
  const { error } = schema.safeParse(value);
  return faultsOf(error?.issues ?? []).map(({ path, says }) => `${path.join(".")} ${says}`);
}

describe("a refusal by a schema uses Holdfast's own words", () => {
  const { createInstance, setUser, signRequest, listEvents, updateInstance } = contract;
  test.each<[z.ZodType, unknown, string]>([
    [setUser.body, { password: "short" }, "password must have at least 12 characters"],
    [setUser.body, { password: "x".repeat(2000) }, "password must have at most 1024 characters"],
    [setUser.body, {}, "password is missing"],
    [setUser.body, { password: 7 }, "password must be a text"],
    [setUser.body, { password: "long enough, this is", pasword: 1 }, "pasword is an unknown field"],
    [signRequest.body, { name: "x", csr: "c".repeat(40), days: 4000 }, "days must be at most 3650"],
    [
      signRequest.body,
      { name: "x", csr: "c".repeat(40), days: 1.5 },
      "days must be a whole number",
    ],
    [
      signRequest.body,
      { name: "-", csr: "c".repeat(40) },
      "name must be 1 to 64 letters, digits, spaces, dots, underscores or hyphens",
    ],
    [listEvents.query, { limit: 0 }, "limit must be at least 1"],
    [listEvents.query, { from: "now" }, "from must be a time such as 2026-11-25T20:12:09Z"],
    [listEvents.query, { severity: "high" }, "severity must be one of normal, warning, critical"],
    [createInstance.body, { nam: "x" }, "nam is an unknown field"],
    [
      updateInstance.body,
      { labels: { "not ok": "x" } },
      "labels.not ok the name must be 1 to 64 letters",
    ],
  ])("case %#", (schema, value, words) => {
    expect(told(schema, value).join("\n")).toContain(words);
  });

  test("a wrong root of trust is reported by the rules of its kind", () => {
    const body = (root: unknown) => ({ regions: { a: root } });
    const schema = contract.configureRoot.body;
    expect(told(schema, body({ type: "nonsense" })).join()).toContain(
      "regions.a.type must be one of",
    );
    expect(told(schema, body({ type: "pkcs11", token: "t", pin: { env: "X" } }))).toEqual([
      "regions.a.rootKey is missing",
    ]);
    const pin = { value: "" };
    expect(told(schema, body({ type: "pkcs11", token: "t", rootKey: "k", pin }))).toEqual([
      "regions.a.pin.value must have at least 1 characters",
    ]);
    expect(told(schema, body({ type: "pkcs11", token: "t", rootKey: "k", pin: "1234" }))).toEqual([
      "regions.a.pin must be { value: SECRET }, { env: NAME } or { file: NAME }",
    ]);
  });

  test("the refusal of a short text that is not PEM does not mention its length", () => {
    expect(told(signRequest.body, { name: "x", csr: "garbage" })).toEqual([]);
  });

  test("no message of the schema library reaches the caller, for any input to any operation", () => {
    const values = [undefined, null, 7, "", "x", [], [1], {}, { a: 1 }, true];
    for (const route of Object.values(contract)) {
      const { params, query, body } = route as Route;
      for (const schema of [params, query, body]) {
        for (const value of values) {
          const says = schema === undefined ? "" : told(schema, value).join("\n");
          expect(says).not.toMatch(/Invalid|expected|received|Too (small|big)|Unrecognized/);
        }
      }
    }
  });
});
