import { expect, test } from "vitest";
import { isAt, isUnder } from "./move-roots.ts";

const place = (rootKey: string) => ({
  type: "key-protect" as const,
  name: `key-protect m/${rootKey}`,
  reference: { type: "key-protect", instanceId: "m", rootKey, secret: "sealed" },
});
const status = (rootKey: string, next?: string) => ({
  ...place(rootKey),
  ...({ origin: "instance", state: "usable", reason: "", version: "1" } as const),
  ...(next !== undefined && { next: place(next) }),
});
const to = (rootKey: string) => ({
  type: "key-protect",
  instanceId: "m",
  rootKey,
  apiKey: { value: "k" },
});

test("an instance that an incomplete order moves away from a root key is not at that root key", () => {
  expect(isAt(status("A"), to("A"))).toBe(true);
  expect(isAt(status("A", "B"), to("A"))).toBe(false);
  expect(isAt(status("A", "B"), to("B"))).toBe(false);
  // Only its secret is being replaced.
  expect(isAt(status("A", "A"), to("A"))).toBe(true);
});

test("an instance on its way is under both root keys", () => {
  const moving = status("A", "B");
  for (const key of ["A", "B"]) expect(isUnder(moving, `key-protect m/${key}`)).toBe(true);
  expect(isUnder(moving, "key-protect m/C")).toBe(false);
  expect(isUnder(status("A"), "key-protect m/B")).toBe(false);
  expect(isUnder(moving, undefined)).toBe(true);
});
