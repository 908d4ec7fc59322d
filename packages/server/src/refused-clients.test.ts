import { X509Certificate } from "node:crypto";
import { expect, test } from "vitest";
import { selfSigned } from "./pki.ts";
import { RefusedClients } from "./refused-clients.ts";

test("the 100 last ones are kept, whatever a single one does", async () => {
  const { certificate } = await selfSigned({ commonName: "c", notBeforeMs: 0, days: 1 });
  const shown = new X509Certificate(certificate);
  const refused = new RefusedClients();
  const note = (fingerprint: string, port = 1) =>
    refused.note({
      timeMs: 1,
      reason: "unknownCertificate",
      remote: `192.0.2.1 ${port}`,
      fingerprint,
      subject: "",
      certificate: shown,
    });
  for (let at = 0; at < 120; at++) note(`f${at}`);
  for (let at = 0; at < 500; at++) note("f119");
  expect(refused.list).toHaveLength(100);
  expect(refused.list[0]?.fingerprint).toBe("f20");
  expect(refused.list.at(-1)).toMatchObject({ fingerprint: "f119", times: 501 });
  expect(refused.list.at(-1)?.certificate).toEqual(shown.raw);
  expect([refused.count, refused.seen]).toEqual([120, 620]);
});

test("those without a certificate are told apart by where they come from", () => {
  const refused = new RefusedClients();
  for (const remote of ["192.0.2.1 1", "192.0.2.1 2", "192.0.2.2 1"]) {
    const none = { fingerprint: "", subject: "", certificate: undefined };
    refused.note({ timeMs: 1, reason: "noCertificate", remote, ...none });
  }
  expect(refused.list.map(({ remote, times }) => [remote, times])).toEqual([
    ["192.0.2.1 2", 2],
    ["192.0.2.2 1", 1],
  ]);
});
