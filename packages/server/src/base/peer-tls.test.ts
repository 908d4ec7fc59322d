import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeRegionKey, publicHalf, readRegionKey } from "@holdfast/regions";
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
const regionKeyFile = join(folder, "region.key");
const otherKeyFile = join(folder, "b.pub");
const settings = { tls, regionKeyFile, keys: [otherKeyFile] };
const own = { region: "a", node: "a1" };
const names = ["a.peer.holdfast", "a1.a.peer.holdfast"];
const read = (changed: Partial<typeof settings> = {}) =>
  readPeerIdentity({ ...settings, ...changed }, own);
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
  good = await issue([...names, "10.0.0.1"]);
  writeFileSync(regionKeyFile, makeRegionKey(), { mode: 0o600 });
  writeFileSync(otherKeyFile, publicHalf(readRegionKey(makeRegionKey())));
});

test("a certificate with its region's name is read, with the old and the new authority", () => {
  write(good, authority.certificate + other.certificate);
  const { leaf, authorities } = read();
  expect(leaf.subject).toBe("CN=a1");
  expect(authorities.map(({ subject }) => subject)).toEqual(["CN=Peer CA", "CN=Next peer CA"]);
});

test("a certificate without purposes is accepted, as for KMIP clients", async () => {
  write(await authority.issue({ commonName: "a1", ...since, hosts: names }));
  expect(() => read()).not.toThrow();
});

test.each<[string, () => Promise<Issued>, string]>([
  [
    "of another region",
    () => issue(["b.peer.holdfast"]),
    "holds b.peer.holdfast; issue one for node a1 of region a, with the DNS names a.peer.holdfast and a1.a.peer.holdfast and no other of these names",
  ],
  [
    "of two regions",
    () => issue(["a.peer.holdfast", "b.peer.holdfast"]),
    "holds a.peer.holdfast and b.peer.holdfast; issue one for node a1 of region a",
  ],
  [
    "of every region",
    () => issue(["*.peer.holdfast"]),
    "holds *.peer.holdfast; issue one for node a1 of region a",
  ],
  [
    "without names",
    () => authority.issue({ commonName: "a.peer.holdfast", ...since }),
    "holds no name of a region; issue one for node a1 of region a",
  ],
  [
    "for servers only",
    () => issue(names, authority, [purposes.serverAuth]),
    "must be for server and client authentication both",
  ],
  [
    "of another authority",
    () => issue(names, other),
    "CN=a1 is not issued by an authority of peer.tls.ca",
  ],
  [
    "that is self-signed",
    () => selfSigned({ commonName: "a1", ...since, hosts: names }),
    "CN=a1 is not issued by an authority of peer.tls.ca",
  ],
])("a certificate %s is refused with one line that says why", async (_what, make, says) => {
  write(await make());
  expect(read).toThrow(OperatorError);
  expect(read).toThrow(`peer.tls.certificate: ${tls.certificate}: ${says}`);
});

test("a key of another certificate is refused", async () => {
  write({ ...good, key: (await issue(names)).key });
  expect(() => read()).toThrow(
    `peer.tls.key: ${tls.key} is not the key of peer.tls.certificate ${tls.certificate}`,
  );
});

test("a new authority and certificate come into use without a restart, a wrong one does not", async () => {
  write(good);
  const events: NodeEvent[] = [];
  const files = new CertificateFiles(
    peerCertificates(settings, own),
    (event) => events.push(event),
    3_600_000,
  );
  const used: string[] = [];
  files.onChange(({ leaf }) => used.push(leaf.serialNumber));
  const next = await issue(names, other);
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

test("another node's certificate is refused", async () => {
  write(await issue(["a.peer.holdfast", "a2.a.peer.holdfast"]));
  expect(() => read()).toThrow(
    "holds a.peer.holdfast and a2.a.peer.holdfast; issue one for node a1 of region a",
  );
});

test("region keys that are missing or wrong are named by their setting", () => {
  write(good);
  const file = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const mine = publicHalf(readRegionKey(readFileSync(regionKeyFile, "utf8")));
  const wrong: readonly [Partial<typeof settings>, string][] = [
    [{ regionKeyFile: "/no/key" }, "peer.regionKeyFile: /no/key: no such file"],
    [{ regionKeyFile: file("x", "x") }, "/x: holds no usable private key in PEM"],
    [{ keys: [] }, "peer.keys: must name 1 or 2 keys of the other region"],
    [{ keys: [otherKeyFile, otherKeyFile, otherKeyFile] }, "peer.keys: must name 1 or 2 keys"],
    [{ keys: ["/no/pub"] }, "peer.keys[0]: /no/pub: no such file"],
    [{ keys: [otherKeyFile, file("y", "y")] }, "/y: holds no public key in PEM"],
    [{ keys: [regionKeyFile] }, "holds a private key: give the public half"],
    [{ keys: [mine] }, "peer.keys[0]: is this region's own key"],
  ];
  const loose = file("loose", makeRegionKey());
  for (const [mode, says] of [
    [0o640, "0640"],
    [0o604, "0604"],
  ] as const) {
    chmodSync(loose, mode);
    expect(() => read({ regionKeyFile: loose })).toThrow(
      `peer.regionKeyFile: ${loose}: mode ${says} lets others read or change it; run: chmod 0600 ${loose}`,
    );
  }
  chmodSync(loose, 0o400);
  expect(() => read({ regionKeyFile: loose })).not.toThrow();
  for (const [changed, says] of wrong) expect(() => read(changed), says).toThrow(says);
  const { peerKeys } = read({ keys: [readFileSync(otherKeyFile, "utf8"), otherKeyFile] });
  expect(peerKeys).toHaveLength(2);
  // One file may have both, so that a key is replaced without another configuration.
  const both = file(
    "both",
    readFileSync(otherKeyFile, "utf8") + publicHalf(readRegionKey(makeRegionKey())),
  );
  expect(new Set(read({ keys: [both] }).peerKeys).size).toBe(2);
});
