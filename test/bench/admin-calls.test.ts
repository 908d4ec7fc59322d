import { type Contract, contract, type Route } from "@holdfast/admin";
import { expect, test } from "vitest";
import { type AdminTargets, callsOf, heaviest, pathOf } from "./admin-calls.ts";

const pem = `-----BEGIN CERTIFICATE-----\n${"A".repeat(64)}\n-----END CERTIFICATE-----\n`;
const targets: AdminTargets = {
  instance: "bench",
  spare: "spare",
  keys: ["6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00", "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a01"],
  certificate: pem,
  csr: pem,
};

const all = Object.keys(contract) as (keyof Contract)[];
const firstOf = (operation: keyof Contract) => callsOf(operation, targets, 0);

test.each(all)("%s has heaviest calls that its contract accepts", (operation) => {
  const route: Route = contract[operation];
  const calls = firstOf(operation);
  // The last call with a body has the largest body, which does not match the contract.
  const made = heaviest[operation]?.(targets, 0).length ?? 1;
  expect(calls.length).toBeGreaterThanOrEqual(made);
  for (const call of calls.slice(0, made)) {
    expect(pathOf(operation, call)).toMatch(/^\/v1\/[^{}]+$/);
    const named = {
      certificate: "x",
      user: "x",
      token: "x",
      denial: "11111111-0000-4000-8000-000000000000",
      approval: "11111111-0000-4000-8000-000000000000",
      backup: "holdfast-a-20261125T023000Z.backup",
      policy: "11111111-0000-4000-8000-000000000000",
    };
    route.params?.loose().parse({ ...named, ...call.params });
    route.query?.strict().parse(call.query ?? {});
    if (heaviest[operation] !== undefined) route.body?.parse(call.body);
    expect(call.dryRun === true && route.dryRun !== true).toBe(false);
  }
});

const withBody = all.filter((operation) => "body" in contract[operation]);

test.each(withBody)("%s has a call with a body of about the maximum size", (operation) => {
  const { bodyMax = 262_144 }: Route = contract[operation];
  const bytes = Buffer.byteLength(JSON.stringify(firstOf(operation).at(-1)?.body));
  expect(bytes).toBeLessThanOrEqual(bodyMax);
  expect(bytes).toBeGreaterThan(bodyMax * 0.9);
});
