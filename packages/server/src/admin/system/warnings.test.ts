import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseConfig } from "../../config/config.ts";
import { warningsOf } from "./warnings.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-warnings-"));
for (const name of ["k", "t", "p"]) writeFileSync(join(folder, name), "secret", { mode: 0o600 });
const config = parseConfig(
  `{
    region: a, node: a1, rootOfTrust: { file: r }, store: { address: "127.0.0.1:1" },
    tls: { certificate: c, key: k },
    audit: { file: { path: audit.log } },
    peer: { region: b, addresses: ["127.0.0.1:2"], tls: { ca: c, certificate: c, key: p }, regionKeyFile: t, keys: [c] },
  }`,
  join(folder, "node.yaml"),
);
const dayMs = 86_400_000;
const nowMs = Date.UTC(2026, 5, 1);
const client = {
  kind: "client",
  owner: "demo",
  subject: "CN=x",
  fingerprint: "",
  notBeforeMs: 0,
  notAfterMs: nowMs + 365 * dayMs,
} as const;
const told = (certificates: Parameters<typeof warningsOf>[1]) =>
  warningsOf(config, certificates, nowMs).map(({ message }) => message);

test("a good configuration causes no warning", () => {
  expect(told([client])).toEqual([]);
});

test.each([
  ["a certificate is not valid yet: is this machine's clock right?", { notBeforeMs: nowMs + 1 }],
  ["a certificate ends soon: issue a new one", { notAfterMs: nowMs + 44 * dayMs }],
  ["a certificate has ended: issue a new one", { notAfterMs: nowMs - 1 }],
])("the warning is: %s", (message, dates) => {
  expect(told([client, { ...client, kind: "server", owner: "kmip", ...dates }])).toEqual([message]);
});

test.each([
  ["k", "tls.key"],
  ["t", "peer.regionKeyFile"],
  ["p", "peer.tls.key"],
])("a secret that every user can read causes a warning (%s)", (name, setting) => {
  chmodSync(join(folder, name), 0o644);
  expect(told([client])).toEqual([`every user of this machine can read ${setting}: chmod o-r it`]);
  chmodSync(join(folder, name), 0o640);
  expect(told([client])).toEqual([]);
});

test("an audit trail without a sink causes a warning", () => {
  const bare = { ...config, audit: { ...config.audit, file: undefined } } as typeof config;
  expect(warningsOf(bare, [client], nowMs)).toEqual([
    { message: expect.stringMatching(/^the audit trail is only in the store/) },
  ]);
});

test("the authorities of peers and of Redis do not count as authorities of clients", () => {
  const authority = { ...client, kind: "authority" as const };
  expect(told([authority])).toEqual([]);
  expect(told([{ ...authority, owner: "(peer)" }])).toHaveLength(1);
  expect(told([{ ...authority, owner: "(store)" }])).toHaveLength(1);
  expect(told([{ ...client, owner: "(store)" }])).toHaveLength(1);
});
