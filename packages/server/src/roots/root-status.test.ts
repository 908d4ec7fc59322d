import { describe, expect, test } from "vitest";
import { type ReportRow, withVendors } from "./root-status.ts";

function row(root: string, versions: Readonly<Record<string, number>> = {}): ReportRow {
  const place = { instance: "i", name: "finance", region: "a", state: "usable" } as const;
  return { ...place, root, versions, currentVersion: "v1", stale: 0 };
}

describe("the report of roots of trust", () => {
  test("has the end of a service that its vendor ends, also while a key is left there", () => {
    const { items, notes = [] } = withVendors([
      row("hpcs m/k", { v1: 1 }),
      row("key-protect m/k", { v1: 1, "hpcs m/old v0": 1 }),
      row("key-protect m/k", { v1: 2 }),
    ]);
    const end = "2027-03-29T00:00:00.000Z";
    expect(items.map(({ ends }) => ends)).toEqual([end, end, undefined]);
    expect(notes.filter((note) => note.includes("28 March 2027"))).toHaveLength(1);
  });

  test.each(["key-protect", "dedicated-key-protect", "hpcs"])(
    "warns once that IBM does not know of the use of a root key in %s",
    (kind) => {
      const { notes = [] } = withVendors([row(`${kind} m/k`), row(`${kind} m/other`)]);
      const told = notes.filter((note) => note.startsWith(`${kind}: IBM does not know`));
      expect(told).toHaveLength(1);
    },
  );

  test("says nothing about a root key of one's own, or one that is not known yet", () => {
    const rows = [row("local key", { "1": 3 }), row("pkcs11 token/crk"), row("")];
    expect(withVendors(rows)).toEqual({ items: rows, notes: [] });
  });
});
