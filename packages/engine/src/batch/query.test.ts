import { enumerations, type Version, versions, within } from "@holdfast/kmip";
import { expect, test } from "vitest";
import { testEngine } from "../testing/test-engine.ts";

type Row = number | { readonly value: number; readonly since?: Version };
const rows: readonly Row[] = Object.values(enumerations.QueryFunction);

/** Every Query Function of every version, by number, and one that no version has. */
const codes = [...rows.map((row) => (typeof row === "number" ? row : row.value)), 0x7f];

function isKnown(code: number, version: Version): boolean {
  return rows.some((row) =>
    typeof row === "number" ? row === code : row.value === code && within(version, row.since),
  );
}

// Go clients' `Query().All()` asks like this, in any version.
test.each(versions)(
  "KMIP %s answers a request for all functions with those that it knows",
  async (version) => {
    const { ask } = await testEngine();
    const query = (numbers: readonly number[]) =>
      ask(version, "Query", { queryFunctions: numbers.map((code) => `0x${code.toString(16)}`) });
    const known = codes.filter((code) => isKnown(code, version));
    const all = await query(codes);
    expect(all).toEqual(await query(known));
    expect(all.operations).toContain("Locate");
    expect(all.objectTypes).toContain("SymmetricKey");
  },
);

test("functions that no version knows have no answer", async () => {
  const { ask } = await testEngine();
  const answer = await ask("1.0", "Query", { queryFunctions: ["0x7f"] });
  expect(answer).toMatchObject({ operations: [], objectTypes: [] });
});

test("other enumerations stay strict", async () => {
  const { reason } = await testEngine();
  const attributes = { attributes: [], templateNames: [] };
  expect(await reason("2.1", "Create", { objectType: "0x7f", attributes })).toBe(
    "UnknownEnumeration",
  );
  expect(await reason("1.2", "Query", { queryFunctions: [] })).toBeDefined();
});
