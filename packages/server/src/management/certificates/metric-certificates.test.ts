import { X509Certificate } from "node:crypto";
import { createAuthority } from "@holdfast/testing/pki";
import { expect, test } from "vitest";
import { storeCertificates } from "./metric-certificates.ts";

const dayMs = 86_400_000;
const notBeforeMs = Date.UTC(2026, 0, 1);

test("the certificates of a store are those that its servers showed, and what vouches for them", async () => {
  const authority = await createAuthority({ commonName: "Redis CA", notBeforeMs, days: 100 });
  const other = await createAuthority({ commonName: "another CA", notBeforeMs, days: 100 });
  const issue = async (commonName: string, days: number) =>
    new X509Certificate((await authority.issue({ commonName, notBeforeMs, days })).certificate);
  const certificate = await issue("primary", 60);
  const shown = [{ kind: "redis", address: "10.20.0.21:6379", certificate }] as const;
  const leaf = await issue("node", 70);
  const authorities = [authority, other].map((one) => new X509Certificate(one.certificate));
  const told = storeCertificates(shown, { leaf, authorities }).map(
    ({ kind, owner, subject, notAfterMs }) =>
      `${kind} ${owner} ${subject} ${(notAfterMs - notBeforeMs) / dayMs}`,
  );
  expect(told).toEqual([
    "redis 10.20.0.21:6379 CN=primary 60",
    "client (store) CN=node 70",
    "authority (store) CN=Redis CA 100",
  ]);
  expect(storeCertificates([], { leaf: undefined, authorities })).toEqual([]);
});
