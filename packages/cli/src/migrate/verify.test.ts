import { describe, expect, test } from "vitest";
import { lacks, staysBehind } from "./verify.ts";

const row = { id: "1", type: "SymmetricKey", names: [], comes: true };
const line = (...left: string[]) => ({ id: "1", outcome: "Imported", left, at: "now" });

describe("an object stays behind", () => {
  test.each([
    "not extractable: the source never gives it",
    "wrong identifier form: an instance keeps only UUIDs in lower case",
    "clash: the instance has destroyed an object of this identifier",
    "the source does not show its attributes: PermissionDenied",
  ])("where the plan says %s", (why) => {
    expect(staysBehind([row, { ...row, id: "2", comes: false, why }])).toEqual([
      `2: stays behind: ${why}`,
    ]);
  });

  test.each(["destroyed: it has no material any more", "a transport key of an earlier run"])(
    "but nobody misses it where the plan says %s",
    (why) => expect(staysBehind([{ ...row, comes: false, why }])).toEqual([]),
  );
});

test("an object lacks attributes that could not come, but not those of each server", () => {
  expect(lacks(row, undefined)).toBe(false);
  expect(lacks(row, line("Lease Time", "Digest"))).toBe(false);
  expect(lacks(row, line("Lease Time", "Usage Limits"))).toBe(true);
  expect(lacks({ ...row, unread: ["Secret Sauce"] }, undefined)).toBe(true);
});
