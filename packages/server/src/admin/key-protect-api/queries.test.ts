import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readQuery, rootKey, states, truth, windowOf, windowRows } from "./queries.ts";
import { Refusal } from "./refusals.ts";

const rows = { ...windowRows(200), state: states, crk_id: rootKey, force: truth };

describe("a query", () => {
  test.each([
    [{}, {}],
    [
      { limit: "200", offset: "1000000" },
      { limit: 200, offset: 1_000_000 },
    ],
    [{ totalCount: "true" }, { totalCount: true }],
    [{ force: "False" }, { force: false }],
    [{ state: "5,6,5" }, { state: [5, 6] }],
    [{ crk_id: "an alias" }, { crk_id: "an alias" }],
  ])("%j is read", (query, read) => {
    expect(readQuery(rows, query)).toEqual(read);
  });

  test.each([
    ["limit", "0"],
    ["limit", "201"],
    ["limit", "-1"],
    ["limit", "1e2"],
    ["limit", ""],
    ["limit", " 1"],
    ["limit", ["1", "2"]],
    ["offset", "1000001"],
    ["offset", "-1"],
    ["totalCount", "1"],
    ["totalCount", ""],
    ["force", "yes"],
    ["state", ""],
    ["state", "0"],
    ["state", "7"],
    ["state", "1,,2"],
    ["state", "1,2,3,4,5,6,1"],
    ["state", ["1", "2"]],
    ["crk_id", ""],
    ["sort", "name"],
    ["toString", "1"],
    ["__proto__", "1"],
  ])("with %s=%j is refused, and the refusal names it", (name, value) => {
    const query: object = JSON.parse(`{${JSON.stringify(name)}:${JSON.stringify(value)}}`);
    const read = () => readQuery(rows, query);
    expect(read).toThrow(Refusal);
    expect(read).toThrow(
      expect.objectContaining({
        status: 400,
        text: expect.objectContaining({
          code: "INVALID_QUERY_PARAM_ERR",
          target: { type: "query_param", name },
        }),
      }),
    );
  });

  test("has IBM's defaults for what it leaves out", () => {
    expect(windowOf(readQuery(windowRows(200), undefined))).toEqual({
      limit: 100,
      offset: 0,
      totalCount: false,
    });
  });

  test("of any texts gives numbers in bounds, or a refusal", () => {
    const text = fc.oneof(fc.string(), fc.integer().map(String), fc.constantFrom("1,2", "true"));
    const name = fc.constantFrom("limit", "offset", "state", "totalCount", "crk_id", "x");
    fc.assert(
      fc.property(fc.dictionary(name, text), (query) => {
        try {
          const { limit = 1, offset = 0, state = [1] } = readQuery(rows, query);
          expect(limit >= 1 && limit <= 200 && offset >= 0 && offset <= 1_000_000).toBe(true);
          expect(state.every((one) => one >= 1 && one <= 6)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(Refusal);
        }
      }),
    );
  });
});
