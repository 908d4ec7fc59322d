import { X509Certificate } from "node:crypto";
import { selfSigned } from "@holdfast/testing/pki";
import { expect, test } from "vitest";
import { fairShare, RefusedClients } from "./refused-clients.ts";

const strange = { reason: "unknownCertificate", subject: "", certificate: undefined } as const;

test("the last 100 refused clients are kept, even if a single one connects often", async () => {
  const { certificate } = await selfSigned({ commonName: "c", notBeforeMs: 0, days: 1 });
  const shown = new X509Certificate(certificate);
  const refused = new RefusedClients();
  const note = (at: number, port = 1) =>
    refused.note({
      ...{ ...strange, certificate: shown, timeMs: at },
      remote: `192.0.2.${at} ${port}`,
      fingerprint: `f${at}`,
    });
  for (let at = 0; at < 120; at++) note(at);
  for (let port = 0; port < 500; port++) note(119, port);
  expect(refused.list).toHaveLength(100);
  expect(refused.list[0]?.fingerprint).toBe("f20");
  expect(refused.list.at(-1)).toMatchObject({ fingerprint: "f119", times: 501 });
  expect(refused.list.at(-1)?.certificate).toEqual(shown.raw);
  expect([refused.count, refused.seen]).toEqual([120, 620]);
});

test("a client that shows a new certificate each time displaces no entry of another address", () => {
  const refused = new RefusedClients();
  const note = (address: string, fingerprint: string, timeMs: number) =>
    refused.note({ ...strange, remote: `${address} 1`, fingerprint, timeMs });
  note("192.0.2.1", "wanted", 0);
  for (let at = 1; at < 500; at++) note("192.0.2.66", `f${at}`, at);
  for (let at = 1; at < 500; at++) note(`2001:db8::${at.toString(16)}`, `g${at}`, at);
  const { list } = refused;
  expect(list[0]).toMatchObject({ fingerprint: "wanted" });
  expect(list.filter(({ remote }) => remote.startsWith("192.0.2.66"))).toHaveLength(10);
  expect(list.filter(({ remote }) => remote.startsWith("2001:"))).toHaveLength(10);
});

test("a client that connects again is kept, even if many new ones share its address", () => {
  const refused = new RefusedClients();
  const note = (fingerprint: string, timeMs: number) =>
    refused.note({ ...strange, remote: "192.0.2.1 1", fingerprint, timeMs });
  note("wanted", 0);
  note("wanted", 1);
  for (let at = 2; at < 500; at++) note(`f${at}`, at);
  expect(refused.list.map(({ fingerprint }) => fingerprint)).toContain("wanted");
});

test("of clients from more than 100 addresses, the 100 newest are kept", () => {
  const all = Array.from({ length: 300 }, (_, at) => ({
    remote: `192.0.2.${at % 200} 1`,
    times: 1,
    timeMs: at,
  }));
  const kept = fairShare(all);
  expect(kept).toHaveLength(100);
  expect(kept[0]?.timeMs).toBe(200);
});

test("clients without a certificate are distinguished by their address", () => {
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
