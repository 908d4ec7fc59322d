import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Authority, createAuthority, type Issued, selfSigned } from "@holdfast/testing/pki";
import { beforeAll, expect, test } from "vitest";
import type { NodeEvent } from "../observe/events.ts";
import { CertificateFiles, peerCertificates } from "../wiring/certificate-files.ts";
import { purposes } from "./certificates.ts";
import { OperatorError } from "./operator-error.ts";
import { readPeerIdentity } from "./peer-tls.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-peer-"));
const since = { notBeforeMs: Date.now() - 1000, days: 10 };
const tls = {
  ca: join(folder, "ca.pem"),
  certificate: join(folder, "peer.pem"),
  key: join(folder, "peer.key"),
};
const both = [purposes.serverAuth, purposes.clientAuth];
let authority: Authority;
let other: Authority;
let good: Issued;

const issue = (hosts: readonly string[], by = authority, named: readonly string[] = both) =>
  by.issue({ commonName: "a1", ...since, hosts, purposes: named });

function write({ certificate, key }: Issued, ca = authority.certificate): void {
  writeFileSync(tls.ca, ca);
  writeFileSync(tls.certificate, certificate);
  writeFileSync(tls.key, key);
}

beforeAll(async () => {
  authority = await createAuthority({ commonName: "Peer CA", ...since });
  other = await createAuthority({ commonName: "Next peer CA", ...since });
  good = await issue(["a.peer.holdfast", "10.0.0.1"]);
});

test("a certificate with its region's name is read, with the old and the new authority", () => {
  write(good, authority.certificate + other.certificate);
  const { leaf, authorities } = readPeerIdentity(tls, "a");
  expect(leaf.subject).toBe("CN=a1");
  expect(authorities.map(({ subject }) => subject)).toEqual(["CN=Peer CA", "CN=Next peer CA"]);
});

test("a certificate without purposes is accepted, as for KMIP clients", async () => {
  write(await authority.issue({ commonName: "a1", ...since, hosts: ["a.peer.holdfast"] }));
  expect(() => readPeerIdentity(tls, "a")).not.toThrow();
});

test.each<[string, () => Promise<Issued>, string]>([
  [
    "of another region",
    () => issue(["b.peer.holdfast"]),
    "holds b.peer.holdfast; issue one for region a, with the DNS name a.peer.holdfast and no other region's",
  ],
  [
    "of two regions",
    () => issue(["a.peer.holdfast", "b.peer.holdfast"]),
    "holds a.peer.holdfast and b.peer.holdfast; issue one for region a",
  ],
  [
    "of every region",
    () => issue(["*.peer.holdfast"]),
    "holds *.peer.holdfast; issue one for region a",
  ],
  [
    "without names",
    () => authority.issue({ commonName: "a.peer.holdfast", ...since }),
    "holds no name of a region; issue one for region a",
  ],
  [
    "for servers only",
    () => issue(["a.peer.holdfast"], authority, [purposes.serverAuth]),
    "must be for server and client authentication both",
  ],
  [
    "of another authority",
    () => issue(["a.peer.holdfast"], other),
    "CN=a1 is not issued by an authority of peer.tls.ca",
  ],
  [
    "that is self-signed",
    () => selfSigned({ commonName: "a1", ...since, hosts: ["a.peer.holdfast"] }),
    "CN=a1 is not issued by an authority of peer.tls.ca",
  ],
])("a certificate %s is refused with one line that says why", async (_what, make, says) => {
  write(await make());
  const read = () => readPeerIdentity(tls, "a");
  expect(read).toThrow(OperatorError);
  expect(read).toThrow(`peer.tls.certificate: ${tls.certificate}: ${says}`);
});

test("a key of another certificate is refused", async () => {
  write({ ...good, key: (await issue(["a.peer.holdfast"])).key });
  expect(() => readPeerIdentity(tls, "a")).toThrow(
    `peer.tls.key: ${tls.key} is not the key of peer.tls.certificate ${tls.certificate}`,
  );
});

test("a new authority and certificate come into use without a restart, a wrong one does not", async () => {
  write(good);
  const events: NodeEvent[] = [];
  const files = new CertificateFiles(
    peerCertificates({ tls }, "a"),
    (event) => events.push(event),
    3_600_000,
  );
  const used: string[] = [];
  files.onChange(({ leaf }) => used.push(leaf.serialNumber));
  const next = await issue(["a.peer.holdfast"], other);
  write(next, authority.certificate + other.certificate);
  await files.poll();
  await files.poll();
  expect(used).toEqual([files.identity.leaf.serialNumber]);
  expect(files.identity.certificate).toBe(next.certificate);
  writeFileSync(tls.ca, authority.certificate);
  expect(files.reload()).toBe(false);
  expect(files.fault).toContain("is not issued by an authority");
  expect(files.identity.certificate).toBe(next.certificate);
  expect(
    events.map((event) => event.type === "certificate" && [event.purpose, event.loaded]),
  ).toEqual([
    ["peer", true],
    ["peer", false],
  ]);
  files.close();
});
