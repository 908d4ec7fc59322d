import { expect, test } from "vitest";
import { denialChecks, tokenChecks } from "./node-checks.ts";

const nowMs = Date.parse("2026-11-25T10:00:00Z");
const dayMs = 86_400_000;

test("the check of tokens counts the manager tokens that are valid", () => {
  const says = (...days: readonly number[]) => {
    const tokens = days.map((end) => ({ role: "manager", expiresMs: nowMs + end * dayMs }));
    const sources = { view: { all: () => tokens }, config: {}, wallMs: () => nowMs };
    const checks = tokenChecks(sources as unknown as Parameters<typeof tokenChecks>[0]);
    return checks.map(({ detail }) => detail);
  };
  expect(says(-1, 10)).toEqual([
    "1 manager token is valid, the last until 2026-12-05T10:00:00.000Z",
  ]);
  expect(says(9, 10)).toEqual([
    "2 manager tokens are valid, the last until 2026-12-05T10:00:00.000Z",
  ]);
  expect(says(-1)).toEqual(["no manager token is valid"]);
});

test("the check of the deny list fails as long as a denial cannot be read", () => {
  const says = (live: number, unread: readonly string[]) => {
    const all = [{ destroyed: { time: 1 } }, ...Array.from({ length: live }, () => ({}))];
    const view = { all: () => all, unreadDenials: new Set(unread) };
    const checks = denialChecks({ view } as unknown as Parameters<typeof denialChecks>[0]);
    return checks.map(({ state, detail }) => `${state}: ${detail}`);
  };
  expect(says(0, [])).toEqual(["ok: 0 denials are in force"]);
  expect(says(1, [])).toEqual(["ok: 1 denial is in force"]);
  expect(says(2, ["x", "y"])).toEqual([
    "failed: denial x and 1 more cannot be read: this node admits no client",
  ]);
});
