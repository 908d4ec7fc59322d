import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "@holdfast/testing";
import { makeCrl } from "@holdfast/testing/crl";
import { type Authority, createAuthority, type Issued } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { greet, greeting, isLetIn } from "../support/greeting.ts";
import { say } from "../support/load.ts";
import { type ManagedRegions, startManagedRegions } from "../support/managed-regions.ts";
import { patient } from "../support/root-regions.ts";
import type { TwoRegions } from "../support/two-regions.ts";
import { allWell } from "../support/vitals.ts";

const day = { notBeforeMs: Date.now() - 3_600_000, days: 2 };

let both: TwoRegions;
let folder: string;
let managed: ManagedRegions;
let at: ManagedRegions["at"];
let vmca: Authority;
let lost: Issued;
let kept: Issued;
/** What the distribution point has. */
let list: string;

const serialOf = ({ certificate }: Issued) => new X509Certificate(certificate).serialNumber;

const server = createServer((_, response) => response.end(list));

/** Region a's nodes read a file, region b's nodes a distribution point. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-revocation-"));
  vmca = await createAuthority({ commonName: "VMCA", ...day });
  list = makeCrl(vmca, { number: 1 });
  await writeFile(join(folder, "vmca.pem"), vmca.certificate);
  await writeFile(join(folder, "vmca.crl"), list);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  managed = await startManagedRegions(folder, async (regions) => {
    for (const node of regions.nodes) {
      const source = regions.a.nodes.includes(node)
        ? { files: [join(folder, "vmca.crl")] }
        : { urls: [`http://127.0.0.1:${port}/vmca.crl`], everySeconds: 10 };
      const crls = [{ authority: join(folder, "vmca.pem"), required: true, ...source }];
      const config = parse(await readFile(node.configFile, "utf8")) as object;
      await writeFile(node.configFile, stringify({ ...config, crls }));
    }
  });
  ({ both, at } = managed);
  const params = { instance: managed.instance };
  const body = { name: "vmca", kind: "authority" as const, pem: vmca.certificate };
  await patient(() => at("a1").call("addCertificate", { params, body }));
  lost = await vmca.issue({ commonName: "host-1.example", ...day });
  kept = await vmca.issue({ commonName: "host-2.example", ...day });
  for (const node of both.nodes) {
    for (const shown of [lost, kept]) {
      await until(`${node.name} lets it in`, () => isLetIn(node, both.a.ca, shown));
    }
  }
});

afterAll(async () => {
  await managed?.[Symbol.asyncDispose]();
  server.close();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

test("a certificate that its authority revokes loses access at every node of both regions, and no other does", async () => {
  const open = await Promise.all(both.nodes.map((node) => greet(node, both.a.ca, lost)));
  const others = await Promise.all(both.nodes.map((node) => greet(node, both.a.ca, kept)));
  const closed = open.map(({ socket }) => new Promise((resolve) => socket.once("close", resolve)));
  list = makeCrl(vmca, { number: 2, serials: [serialOf(lost)] });
  await writeFile(join(folder, "vmca.crl"), list);
  await Promise.all(closed);
  for (const [place, node] of both.nodes.entries()) {
    await others[place]?.exchange(greeting);
    await until(`${node.name} lets the other in`, () => isLetIn(node, both.a.ca, kept));
    // A busy node may let nobody in for a moment, which is no revocation.
    await until(`${node.name} counts it`, async () => {
      expect(await isLetIn(node, both.a.ca, lost), node.name).toBe(false);
      const metrics = await node.metrics();
      return (
        /^holdfast_handshakes_total\{outcome="revoked",.*\} [1-9]/m.test(metrics) &&
        /^holdfast_crl_entries\{authority="CN=VMCA",.*\} 1$/m.test(metrics) &&
        /^holdfast_crl_ok\{authority="CN=VMCA",.*\} 1$/m.test(metrics)
      );
    });
  }
  for (const one of others) await one[Symbol.asyncDispose]();
  await until("the refused client is listed", async () => {
    const { items } = await patient(() => at("b1").call("listRefused", { query: {} }));
    return items.some(({ reason, subject }) => reason === "revoked" && /host-1/.test(subject));
  });
  const { items: checks } = await patient(() => at("a1").call("runChecks", {}));
  expect(checks.filter(({ name }) => name === "revocation lists")).toMatchObject([
    { state: "ok", detail: "1 in time, with 1 certificates" },
  ]);
  await until("both regions' nodes have left evidence", async () => {
    const query = { action: "vmware-solutions.kmip-crl.read", limit: 100 };
    const { items } = await patient(() => at("a1").call<"listEvents">("listEvents", { query }));
    const text = JSON.stringify(items);
    return ["a1", "b1"].every((node) => text.includes(`node ${node} of`));
  });
});

test("a required list that is missing shuts out its authority's clients, until it is there again", async () => {
  const a1 = both.node("a1");
  await writeFile(join(folder, "vmca.crl"), makeCrl(vmca, { number: 1 }));
  // An older list is not taken, and the last one counts on.
  await until("a1 reports it", async () => {
    return /^holdfast_crl_ok\{authority="CN=VMCA",.*\} 0$/m.test(await a1.metrics());
  });
  await until("a1 lets it in", () => isLetIn(a1, both.a.ca, kept));
  const { items } = await patient(() => at("a1").call("runChecks", {}));
  const detail = expect.stringMatching(/older \(CRL number 1\) than the last one \(2\)/);
  expect(items).toContainEqual(
    expect.objectContaining({ name: "revocation lists", state: "warning", detail }),
  );
  await writeFile(join(folder, "vmca.crl"), "");
  await both.kill("a1");
  await a1.start();
  await until("a1 refuses it for this reason", async () => {
    await isLetIn(a1, both.a.ca, kept);
    const metrics = await a1.metrics();
    return /^holdfast_handshakes_total\{outcome="revocationUnknown",.*\} [1-9]/m.test(metrics);
  });
  expect(await isLetIn(a1, both.a.ca, kept)).toBe(false);
  await writeFile(
    join(folder, "vmca.crl"),
    makeCrl(vmca, { number: 3, serials: [serialOf(lost)] }),
  );
  await until("a1 lets it in", () => isLetIn(a1, both.a.ca, kept));
  expect(await isLetIn(a1, both.a.ca, lost)).toBe(false);
});

test("denied peer certificates end the link of their node within a second, until they are lifted", async () => {
  const nodes = both.b.nodes.map(({ name }) => name);
  const [fingerprint, ...others] = await Promise.all(
    nodes.map(async (name) => {
      const pem = await readFile(join(both.b.folder, `peer-${name}.pem`), "utf8");
      return new X509Certificate(pem).fingerprint256;
    }),
  );
  const lifted: string[] = [];
  for (const other of others) {
    const { id } = await patient(() =>
      at("a1").call<"addDenial">("addDenial", { body: { fingerprint: other, reason: "old" } }),
    );
    lifted.push(id);
  }
  const body = { fingerprint, reason: "was stolen" };
  const peerUp = async (node: string, up: 0 | 1) =>
    new RegExp(`^holdfast_peer_up\\{.*\\} ${up}$`, "m").test(await both.node(node).metrics());
  await expect(patient(() => at("a1").call("addDenial", { body }))).rejects.toThrow(
    /cuts region a and region b apart/,
  );
  const startedMs = performance.now();
  const forced = { body: { ...body, force: true } };
  const { id } = await patient(() => at("a1").call<"addDenial">("addDenial", forced));
  for (const { name } of both.nodes) await until(`${name} is apart`, () => peerUp(name, 0));
  say(`the link ended at all nodes ${Math.round(performance.now() - startedMs)} ms after the call`);
  // Lifted in each region by itself: they cannot reach each other.
  for (const node of ["a1", "b1"]) {
    for (const denial of [id, ...lifted]) {
      await patient(() => at(node).call("removeDenial", { params: { denial } })).catch(
        (error: unknown) => {
          // A busy node had lifted it, or the regions see each other again already.
          if (!/lifted already/.test(String(error))) throw error;
        },
      );
    }
  }
  for (const { name } of both.nodes) await until(`${name} is linked`, () => peerUp(name, 1));
  await allWell(both);
});
