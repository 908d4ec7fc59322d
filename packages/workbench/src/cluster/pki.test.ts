import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer } from "node:tls";
import { contextOptions, readIdentity } from "@holdfast/server";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { RegionRedis } from "../redis/redis.ts";
import { nodeConfig } from "./node-config.ts";
import { ensurePeerPki, ensurePki, makePki } from "./pki.ts";
import { type DevNode, nodesInTurn, planOf } from "./plan.ts";

let folder = "";
const hosts = ["127.0.1.1", "127.0.1.2", "localhost"];

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "holdfast-pki-")), "pki");
});

afterEach(() => {
  rmSync(join(folder, ".."), { recursive: true });
});

function contents(files: object): Record<string, string> {
  return Object.fromEntries(
    Object.entries(files).map(([name, path]) => [name, readFileSync(path, "hex")]),
  );
}

describe("a development PKI", () => {
  test("has a server certificate with the hosts' names, and a self-signed client certificate", async () => {
    const files = await ensurePki(folder, hosts);
    const server = new X509Certificate(readFileSync(files.serverCertificate));
    const ca = new X509Certificate(readFileSync(files.ca));
    const client = new X509Certificate(readFileSync(files.clientCertificate));
    expect(server.verify(ca.publicKey)).toBe(true);
    expect(server.checkIP("127.0.1.2")).toBe("127.0.1.2");
    expect(server.checkIP("127.0.1.3")).toBeUndefined();
    expect(client.verify(client.publicKey)).toBe(true);
    expect(client.keyUsage).toBeUndefined();
    expect(
      createPublicKey(readFileSync(files.regionKey)).export({ type: "spki", format: "pem" }),
    ).toBe(readFileSync(files.regionPublicKey, "utf8"));
  });

  test("has an RSA server certificate in addition to P-256, for clients whose suites need one", async () => {
    const files = await ensurePki(folder, hosts);
    const ports = { primary: 1, replica: 2, lock: 3 };
    const redis = { folder: { secrets: folder }, ports } as unknown as RegionRedis;
    const [node] = nodesInTurn(planOf({ regions: 1, nodes: 1, port: 5696, wan: 0 }));
    const settings = {
      ...{ redis, server: files, files, bootstrapFile: "b", endpoints: [], consoles: [] },
      ...{ signInFolder: folder, controlSocket: "c" },
    };
    const { tls } = parse(nodeConfig(node as DevNode, settings));
    const server = createServer(
      contextOptions(readIdentity({ ...tls, suites: "default" }), "default"),
    );
    await once(server.listen(0, "127.0.0.1"), "listening");
    try {
      const { port } = server.address() as AddressInfo;
      for (const [ciphers, type] of [
        ["ECDHE-RSA-AES256-GCM-SHA384", "rsa"],
        ["ECDHE-ECDSA-AES256-GCM-SHA384", "ec"],
      ] as const) {
        const options = { port, servername: "localhost", ca: readFileSync(files.ca), ciphers };
        const socket = connect({ ...options, maxVersion: "TLSv1.2" });
        await once(socket, "secureConnect");
        expect(socket.getPeerX509Certificate()?.publicKey.asymmetricKeyType).toBe(type);
        socket.destroy();
      }
    } finally {
      server.close();
    }
  });

  test("is accessible to this user only", async () => {
    await ensurePki(folder, hosts);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    const modes = readdirSync(folder).map((name) => statSync(join(folder, name)).mode & 0o777);
    expect(new Set(modes)).toEqual(new Set([0o600]));
  });

  test("stays as it is on a second call", async () => {
    const before = contents(await ensurePki(folder, hosts));
    expect(contents(await ensurePki(folder, hosts))).toEqual(before);
  });

  test("gets a new server certificate for a new host, and keeps its client certificate", async () => {
    const before = contents(await ensurePki(folder, hosts));
    const files = await ensurePki(folder, [...hosts, "127.0.1.3"]);
    const after = contents(files);
    expect(after["clientCertificate"]).toBe(before["clientCertificate"]);
    expect(after["regionKey"]).toBe(before["regionKey"]);
    expect(after["serverCertificate"]).not.toBe(before["serverCertificate"]);
    const server = new X509Certificate(readFileSync(files.serverCertificate));
    expect(server.checkIP("127.0.1.3")).toBe("127.0.1.3");
  });

  test("replaces missing files", async () => {
    const files = await ensurePki(folder, hosts);
    const before = contents(files);
    rmSync(files.clientKey);
    rmSync(files.serverKey);
    const after = contents(await ensurePki(folder, hosts));
    expect(after["clientKey"]).not.toBe(before["clientKey"]);
    expect(after["serverKey"]).not.toBe(before["serverKey"]);
  });
});

describe("the regions' own PKI", () => {
  const nodes = [
    { region: "a", node: "a1" },
    { region: "b", node: "b1" },
  ];

  test("pins each node to its region, for both directions", async () => {
    const { ca, of } = await ensurePeerPki(folder, nodes);
    const authority = new X509Certificate(readFileSync(ca));
    for (const { region, node } of nodes) {
      const { certificate, key } = of(node);
      const leaf = new X509Certificate(readFileSync(certificate));
      expect(leaf.verify(authority.publicKey)).toBe(true);
      expect(leaf.checkHost(`${region}.peer.holdfast`)).toBe(`${region}.peer.holdfast`);
      expect(leaf.subjectAltName).toBe(
        `DNS:${region}.peer.holdfast, DNS:${node}.${region}.peer.holdfast`,
      );
      expect(leaf.keyUsage?.toSorted()).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
      expect(leaf.checkPrivateKey(createPrivateKey(readFileSync(key)))).toBe(true);
    }
  });

  test("stays as it is on a second call, and is created again for a new node", async () => {
    const { ca, of } = await ensurePeerPki(folder, nodes);
    const before = [ca, of("a1").certificate].map((file) => readFileSync(file, "utf8"));
    await ensurePeerPki(folder, nodes);
    expect([ca, of("a1").certificate].map((file) => readFileSync(file, "utf8"))).toEqual(before);
    await ensurePeerPki(folder, [...nodes, { region: "b", node: "b2" }]);
    const authority = new X509Certificate(readFileSync(ca));
    for (const node of ["a1", "b1", "b2"]) {
      const leaf = new X509Certificate(readFileSync(of(node).certificate));
      expect(leaf.verify(authority.publicKey)).toBe(true);
    }
  });
});

test("the error for a folder that cannot be created names the folder and its option", async () => {
  writeFileSync(folder, "");
  await expect(makePki(folder, ["127.0.0.1"], [])).rejects.toThrow(
    /pki: cannot be made: EEXIST.*with --out$/,
  );
});
