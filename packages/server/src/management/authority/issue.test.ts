import { execFileSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  issueClientPair,
  makeAuthority,
  type Signer,
  signClientRequest,
  signerOf,
} from "./issue.ts";

const nowMs = Date.now();
const issue = { commonName: "vcenter-1", nowMs, days: 365 };
let folder: string;
let signer: Signer;

const openssl = (...given: readonly string[]): string =>
  execFileSync("openssl", given, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] }).toString();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-issue-"));
  const { pem, key } = await makeAuthority("KMIP clients of demo", nowMs);
  signer = await signerOf(pem, new Uint8Array(key));
  writeFileSync(join(folder, "ca.pem"), pem);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function csr(keyType: readonly string[], ...more: readonly string[]): string {
  const subject = "/C=US/O=VMware/CN=kmipClient20261125";
  openssl(
    "req",
    "-new",
    "-nodes",
    "-newkey",
    ...keyType,
    "-keyout",
    "k",
    "-subj",
    subject,
    "-out",
    "r",
    ...more,
  );
  return readFileSync(join(folder, "r"), "utf8");
}

/** Has OpenSSL verify a client's certificate under the authority. */
function verified(pem: string): X509Certificate {
  writeFileSync(join(folder, "leaf.pem"), pem);
  openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.pem", "leaf.pem");
  return new X509Certificate(pem);
}

describe("an instance's authority", () => {
  test("may sign clients but no further authorities", () => {
    const text = openssl("x509", "-in", "ca.pem", "-noout", "-text");
    expect(text).toContain("CA:TRUE, pathlen:0");
    expect(text).toContain("Certificate Sign, CRL Sign");
  });

  test.each([
    ["RSA-2048", ["rsa:2048"]],
    ["P-256", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]],
    ["P-384", ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]],
  ])("signs vCenter's request with %s under its own subject", async (_name, keyType) => {
    const request = csr(keyType, "-addext", "basicConstraints=critical,CA:TRUE");
    const leaf = verified(await signClientRequest(signer, request, issue));
    expect(leaf.subject).toBe("C=US\nO=VMware\nCN=kmipClient20261125");
    expect(leaf.ca).toBe(false);
    expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.2"]);
    expect(leaf.serialNumber.length).toBeGreaterThan(24);
    expect(leaf.validToDate.getTime()).toBeGreaterThan(nowMs + 364 * 86_400_000);
    const key = readFileSync(join(folder, "k"), "utf8");
    expect(leaf.checkPrivateKey(createPrivateKey(key))).toBe(true);
  });

  test("makes a pair whose PKCS#8 key matches the certificate", async () => {
    const { pem, privateKey } = await issueClientPair(signer, { ...issue, days: 3650 });
    const leaf = verified(pem);
    writeFileSync(join(folder, "pair.key"), privateKey);
    expect(openssl("pkey", "-in", "pair.key", "-pubout")).toBe(
      leaf.publicKey.export({ type: "spki", format: "pem" }),
    );
    expect(privateKey).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    const other = await issueClientPair(signer, issue);
    expect(new X509Certificate(other.pem).serialNumber).not.toBe(leaf.serialNumber);
  });

  test("signs no certificate that ends after its own end", async () => {
    const { pem, key } = await makeAuthority("old", nowMs - 7290 * 86_400_000);
    const old = await signerOf(pem, new Uint8Array(key));
    const leaf = new X509Certificate((await issueClientPair(old, issue)).pem);
    expect(leaf.validToDate.getTime()).toBe(new X509Certificate(pem).validToDate.getTime());
  });

  test.each<[string, () => string, RegExp]>([
    ["a short RSA key", () => csr(["rsa:1024"]), /RSA of 2048 to 8192 bits/],
    ["an altered request", () => altered(csr(["rsa:2048"])), /not signed by its own key|cut off/],
    ["a private key", () => readFileSync(join(folder, "k"), "utf8"), /private key/],
    ["a certificate", () => signer.pem, /add it as it is/],
    ["garbage", () => "hello, I am no request at all", /contains no signing request/],
    ["two requests", () => csr(["rsa:2048"]).repeat(2), /one is signed at a time/],
  ])("does not sign %s, and says why", async (_name, text, why) => {
    const given = text();
    const refused = signClientRequest(signer, given, issue);
    await expect(refused).rejects.toMatchObject({ code: "certificateInvalid" });
    await expect(refused).rejects.toThrow(why);
  });
});

function altered(pem: string): string {
  const lines = pem.split("\n");
  const line = lines[2] ?? "";
  lines[2] = `${line.slice(0, 10)}${line[10] === "A" ? "B" : "A"}${line.slice(11)}`;
  return lines.join("\n");
}
