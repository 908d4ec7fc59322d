import { X509Certificate } from "node:crypto";
import { createAuthority } from "@holdfast/testing/pki";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { purposes } from "../../base/certificates.ts";
import { TestAccess, type TestNode } from "../../testing/access.ts";
import { ServerCertificates } from "./server-certificates.ts";

const dayMs = 86_400_000;
let leaves: readonly X509Certificate[];
let world: TestAccess;
let nowMs: number;
let monotonicMs = 0;
const opened: ServerCertificates[] = [];

beforeAll(async () => {
  const validity = { notBeforeMs: Date.now() - 1000, days: 9 };
  const authority = await createAuthority({ commonName: "authority", ...validity });
  const issue = async (keyType: "P-256" | "RSA-2048", host: string) => {
    const request = { commonName: host, keyType, hosts: [host, "192.0.2.1"], ...validity };
    const issued = await authority.issue({ ...request, purposes: [purposes.serverAuth] });
    return new X509Certificate(issued.certificate);
  };
  leaves = await Promise.all([issue("P-256", "kms-1.example"), issue("RSA-2048", "kms-2.example")]);
});

beforeEach(() => {
  world = new TestAccess();
  nowMs = Date.now();
});

afterEach(async () => {
  for (const one of opened.splice(0)) one[Symbol.dispose]();
  await world[Symbol.asyncDispose]();
});

function certificatesOf({ region }: TestNode, own: () => readonly X509Certificate[]) {
  const { name, view, records } = region;
  const made = new ServerCertificates({
    ...{ region: name, node: `${name}1`, leaves: own, view, records, observe: () => undefined },
    // Each tick is long after the one before, so that none is too early to report.
    clock: { wallMs: () => nowMs, monotonicMs: () => (monotonicMs += 10 * 60_000) },
  });
  opened.push(made);
  return made;
}

const plain = (text: string) => text.replaceAll(":", "").toLowerCase();

test("every node lists the certificates of all nodes, with both fingerprints", async () => {
  const [elliptic, rsa] = leaves as [X509Certificate, X509Certificate];
  let shown: readonly X509Certificate[] = leaves;
  const a = certificatesOf(world.a, () => shown);
  const b = certificatesOf(world.b, () => [rsa]);
  await a.tick();
  await b.tick();
  await world.see();
  const of = (leaf: X509Certificate) => ({
    subject: leaf.subject,
    names: [leaf.subject.replace("CN=", ""), "192.0.2.1"],
    sha1: plain(leaf.fingerprint),
    sha256: plain(leaf.fingerprint256),
    notAfter: leaf.validToDate.toISOString(),
  });
  expect(b.list()).toMatchObject([
    { region: "a", node: "a1", asked: false, keyType: "EC P-256", ...of(elliptic) },
    { region: "a", node: "a1", asked: false, keyType: "RSA 2048", ...of(rsa) },
    { region: "b", node: "b1", asked: true, keyType: "RSA 2048", ...of(rsa) },
  ]);
  // A replaced certificate is reported without a request.
  shown = [rsa];
  await a.tick();
  await world.see();
  expect(b.list().map(({ node, keyType }) => `${node} ${keyType}`)).toEqual([
    "a1 RSA 2048",
    "b1 RSA 2048",
  ]);
});

test("a node that is gone for a week leaves the list, and one that stays does not", async () => {
  const a = certificatesOf(world.a, () => leaves);
  const b = certificatesOf(world.b, () => leaves);
  await a.tick();
  await world.see();
  nowMs += 6 * dayMs;
  await a.tick();
  await world.see();
  nowMs += 6 * dayMs;
  expect(b.list()).toHaveLength(4);
  nowMs += 2 * dayMs;
  expect(b.list().map(({ node }) => node)).toEqual(["b1", "b1"]);
});

test("a node writes nothing while its certificates are unchanged", async () => {
  const a = certificatesOf(world.a, () => leaves);
  await a.tick();
  const [told] = [...world.regions.a.view.records()];
  for (let at = 0; at < 5; at += 1) await a.tick();
  expect([...world.regions.a.view.records()]).toEqual([told]);
});
