import { X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ensurePki, type PkiFiles } from "./pki.ts";

let folder = "";
const hosts = ["127.0.1.1", "127.0.1.2", "localhost"];

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "holdfast-pki-")), "pki");
});

afterEach(() => {
  rmSync(join(folder, ".."), { recursive: true });
});

function contents(files: PkiFiles): Record<string, string> {
  return Object.fromEntries(
    Object.entries(files).map(([name, path]) => [name, readFileSync(path, "hex")]),
  );
}

describe("a development PKI", () => {
  test("names the servers, and a client that nobody issued", async () => {
    const files = await ensurePki(folder, hosts);
    const server = new X509Certificate(readFileSync(files.serverCertificate));
    const ca = new X509Certificate(readFileSync(files.ca));
    const client = new X509Certificate(readFileSync(files.clientCertificate));
    expect(server.verify(ca.publicKey)).toBe(true);
    expect(server.checkIP("127.0.1.2")).toBe("127.0.1.2");
    expect(server.checkIP("127.0.1.3")).toBeUndefined();
    expect(client.verify(client.publicKey)).toBe(true);
    expect(client.keyUsage).toBeUndefined();
    expect(readFileSync(files.ticketKeys)).toHaveLength(48);
  });

  test("is for this user only", async () => {
    await ensurePki(folder, hosts);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    const modes = readdirSync(folder).map((name) => statSync(join(folder, name)).mode & 0o777);
    expect(new Set(modes)).toEqual(new Set([0o600]));
  });

  test("stays as it is when asked for again", async () => {
    const before = contents(await ensurePki(folder, hosts));
    expect(contents(await ensurePki(folder, hosts))).toEqual(before);
  });

  test("gets a new server certificate for a new host, and keeps its client", async () => {
    const before = contents(await ensurePki(folder, hosts));
    const files = await ensurePki(folder, [...hosts, "127.0.1.3"]);
    const after = contents(files);
    expect(after["clientCertificate"]).toBe(before["clientCertificate"]);
    expect(after["ticketKeys"]).toBe(before["ticketKeys"]);
    expect(after["serverCertificate"]).not.toBe(before["serverCertificate"]);
    const server = new X509Certificate(readFileSync(files.serverCertificate));
    expect(server.checkIP("127.0.1.3")).toBe("127.0.1.3");
  });

  test("replaces what is missing", async () => {
    const files = await ensurePki(folder, hosts);
    const before = contents(files);
    rmSync(files.clientKey);
    rmSync(files.serverKey);
    const after = contents(await ensurePki(folder, hosts));
    expect(after["clientKey"]).not.toBe(before["clientKey"]);
    expect(after["serverKey"]).not.toBe(before["serverKey"]);
  });
});
