import { describe, expect, test } from "vitest";
import type { Field, FieldKind } from "./fields.ts";
import { fieldValue, identifier } from "./values.ts";

const field = (kind: FieldKind): Field => ({
  ...{ name: "createdAfter", kind, choices: [], required: false, description: "" },
});

describe("the value of an option", () => {
  test.each<[FieldKind, unknown, unknown]>([
    ["text", "some text", "some text"],
    ["choice", "Active", "Active"],
    ["switch", true, "true"],
    ["number", "12", 12],
    ["number", "0.5", 0.5],
    ["time", "2026-11-25T10:00:00Z", "2026-11-25T10:00:00.000Z"],
    ["time", "2026-11-25T12:00:00+02:00", "2026-11-25T10:00:00.000Z"],
    ["list", ["a", "b"], ["a", "b"]],
    ["pairs", ["site=x", "group=a=b", "empty="], { site: "x", group: "a=b", empty: "" }],
    ["json", '{"a":[1]}', { a: [1] }],
  ])("%s: %j is %j", (kind, given, wanted) => {
    expect(fieldValue(field(kind), given)).toEqual(wanted);
  });

  test("may be a State as KMIP prints it, or as the contract writes it", () => {
    const state = { ...field("choice"), choices: ["PreActive", "Active"] };
    for (const given of ["Pre-Active", "PreActive"]) {
      expect(fieldValue(state, given)).toBe("PreActive");
    }
  });

  test("may be a fingerprint as vCenter and OpenSSL show it; other texts are unchanged", () => {
    const named = (name: string) => ({ ...field("text"), name });
    expect(fieldValue(named("fingerprint"), "97:72:ED")).toBe("9772ed");
    expect(fieldValue(named("name"), "97:72:ED")).toBe("97:72:ED");
  });

  test.each<[string, number]>([
    ["90m", 90 * 60_000],
    ["24h", 24 * 3_600_000],
    ["7d", 7 * 86_400_000],
  ])("%s ago is a time", (given, ms) => {
    const before = Date.now() - ms;
    const at = Date.parse(String(fieldValue(field("time"), given)));
    expect(at).toBeGreaterThanOrEqual(before);
    expect(at).toBeLessThanOrEqual(Date.now() - ms);
  });

  test.each<[FieldKind, unknown, string]>([
    ["number", "many", "--created-after many: is not a number"],
    ["number", "", "is not a number"],
    ["number", "Infinity", "is not a number"],
    ["time", "yesterday", "is not a time, such as"],
    ["time", "99999999999999d", "is not a time"],
    ["pairs", ["=value"], "is not KEY=VALUE"],
    ["pairs", ["key"], "is not KEY=VALUE"],
    ["json", "{", "--created-after: is not JSON"],
  ])("%s: %j is refused", (kind, given, wanted) => {
    expect(() => fieldValue(field(kind), given)).toThrow(
      expect.objectContaining({ name: "Failure", message: expect.stringContaining(wanted) }),
    );
  });
});

test("an identifier is converted to lower case, and a name stays as it is", () => {
  const capitals = "8F14E45F-CEEA-467A-9575-1C1E0C0A7D11";
  for (const name of ["instance", "key", "id"]) {
    expect(identifier(name, capitals)).toBe(capitals.toLowerCase());
  }
  expect(fieldValue({ ...field("text"), name: "target" }, capitals)).toBe(capitals.toLowerCase());
  expect(identifier("instance", "KMIP-Prod")).toBe("KMIP-Prod");
  expect(identifier("user", capitals)).toBe(capitals);
});
