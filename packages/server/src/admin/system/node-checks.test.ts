import { expect, test } from "vitest";
import { denialChecks, tokenChecks } from "./node-checks.ts";

const nowMs = Date.parse("2026-11-25T10:00:00Z");
const dayMs = 86_400_000;

test("the check of tokens counts the valid ones of each role without which nobody can manage", () => {
  const says = (oidc: object | undefined, ...days: readonly number[]) => {
    const tokens = days.map((end) => ({
      ...{ role: ["viewer", "manager"], expiresMs: nowMs + end * dayMs },
    }));
    const config = { admin: { oidc } };
    const sources = { view: { all: () => tokens }, config, wallMs: () => nowMs };
    const checks = tokenChecks(sources as unknown as Parameters<typeof tokenChecks>[0]);
    return checks.map(({ state, detail }) => `${state}: ${detail}`);
  };
  const noOfficer = "warning: no valid token has the role security-officer";
  expect(says(undefined, -1, 10)).toEqual([
    "ok: 1 valid token has the role manager, the last until 2026-12-05T10:00:00.000Z",
    noOfficer,
  ]);
  expect(says(undefined, 5, 6)).toEqual([
    "warning: 2 valid tokens have the role manager, the last until 2026-12-01T10:00:00.000Z",
    noOfficer,
  ]);
  expect(says(undefined, -1)).toEqual(["warning: no valid token has the role manager", noOfficer]);
  const oidc = { viewer: [], auditor: [], operator: [], securityOfficer: ["o"], manager: [] };
  expect(says(oidc, 10)[1]).toBe(
    "ok: no valid token has the role security-officer; the identity provider gives it",
  );
});

test.each([
  [undefined, "set admin.bootstrapFile, or admin.oidc.securityOfficer, and restart the node"],
  ["/secrets/one-time", "use the one-time token of admin.bootstrapFile"],
])("the check of tokens says how to get a missing role (file: %s)", (bootstrapFile, advice) => {
  const tokens = [{ role: ["manager"], expiresMs: nowMs + 10 * dayMs }];
  const config = { admin: { bootstrapFile } };
  const sources = { view: { all: () => tokens }, config, wallMs: () => nowMs };
  const checks = tokenChecks(sources as unknown as Parameters<typeof tokenChecks>[0]);
  expect(checks.map(({ state }) => state)).toEqual(["ok", "warning"]);
  expect(checks[1]?.mend).toContain(advice);
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
