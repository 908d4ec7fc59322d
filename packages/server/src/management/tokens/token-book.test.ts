import type { SystemRecord } from "@holdfast/engine";
import { expect, test } from "vitest";
import { systemIds } from "../../base/system.ts";
import { TokenBook } from "./token-book.ts";
import { hashOf, newToken } from "./token-text.ts";

const nowMs = 60_000;
const token = newToken(systemIds.randomBytes);
const known = {
  id: "t",
  name: "ci",
  role: ["manager"],
  hash: hashOf(token),
  createdMs: 0,
  expiresMs: 2 * nowMs,
} as unknown as SystemRecord<"Token">;

test.each<[string, number | undefined, boolean]>([
  ["just seen", nowMs, true],
  ["ten seconds ago", nowMs - 10_000, true],
  ["longer ago", nowMs - 10_001, false],
  ["never", undefined, false],
])("tokens that were seen %s: fresh or not", (_when, freshAtMs, fresh) => {
  const find = (_kind: string, hash: string) => (hash === known.hash ? [known] : []);
  const view = { all: () => [known], find, freshAtMs } as never;
  const clock = { monotonicMs: () => nowMs, wallMs: () => nowMs };
  const book = new TokenBook({ view, clock });
  expect(book.isFresh()).toBe(fresh);
  const bearer = { id: "t", name: "ci", roles: ["manager"], expiresMs: known.expiresMs };
  expect(book.verify(token)).toEqual(fresh ? bearer : { ...bearer, stale: true });
  // Another one may have been made since the last look.
  expect(book.verify(newToken(systemIds.randomBytes))).toBe(fresh ? "unknown" : "unavailable");
});
