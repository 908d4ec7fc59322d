import { expect, test } from "vitest";
import { stepsFor, type Wanted } from "./connect-plan.ts";
import type { KeyProvider, ProviderStatus } from "./key-provider.ts";

const nowMs = Date.parse("2026-11-30T00:00:00Z");
const wanted: Wanted = {
  ...{ provider: "holdfast", endpoints: ["kms.example:5696"], isDefault: false, days: 365, nowMs },
};
const server = { name: "kms-1", address: "kms.example", port: 5696 };
const known: KeyProvider = {
  ...{ id: "holdfast", servers: [server], isDefault: false, managementType: "vCenter" },
  hasBackup: undefined,
};
const status = (left: number, isTrusted = true): ProviderStatus => ({
  ...{ id: "holdfast", overall: "yellow" },
  clientCertificateEnds: new Date(nowMs + left * 86_400_000).toISOString(),
  servers: [
    {
      ...{ name: "kms-1", status: "yellow", connectionStatus: "", trustsServer: true, isTrusted },
      serverCertificateEnds: "2027-11-30T00:00:00Z",
    },
  ],
});

test.each([
  ["46 days before its end, it stays", 46, 365, []],
  ["44 days before its end, it is renewed", 44, 365, [{ does: "renew", left: 44 }]],
  ["in its last hours, it is renewed", 0.5, 365, [{ does: "renew", left: 0 }]],
  ["a new one would be hardly longer, so it stays", 20, 30, []],
  ["half of a short one is over, so it is renewed", 14, 30, [{ does: "renew", left: 14 }]],
])("a certificate that both sides trust: %s", (_, left, days, steps) => {
  expect(stepsFor({ ...wanted, days }, known, status(left))).toEqual(steps);
});

test("a certificate that is not trusted is signed, and not renewed too", () => {
  expect(stepsFor(wanted, known, status(3, false))).toEqual([{ does: "sign" }]);
});

test("a certificate whose end vCenter does not show stays", () => {
  const { clientCertificateEnds: _, ...hidden } = status(3);
  expect(stepsFor(wanted, known, hidden)).toEqual([]);
});

test("a server that is not of this instance is refused, with the way to remove one that was of it", () => {
  const stale = { name: "kms-9", address: "gone.example", port: 5696 };
  const both = { ...known, servers: [server, stale] };
  expect(() => stepsFor(wanted, both, status(300))).toThrow(
    /has key servers of this instance, and others \(kms-9 at gone\.example:5696\): .*remove them from the provider/,
  );
  expect(() => stepsFor(wanted, { ...known, servers: [stale] }, status(300))).toThrow(
    /has key servers that are not of this instance \(kms-9/,
  );
});
