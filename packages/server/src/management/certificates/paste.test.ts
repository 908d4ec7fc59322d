import { execFileSync } from "node:child_process";
import { getFips, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Authority, createAuthority, type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { keyTypeOf, parseCertificates } from "../../base/certificates.ts";
import { checkUsable, readPasted } from "./paste.ts";

const dayMs = 86_400_000;
const nowMs = Date.now();
const since = { notBeforeMs: nowMs - dayMs, days: 10 };
let folder: string;
let authority: Authority;
let client: Issued;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-paste-"));
  authority = await createAuthority({ commonName: "VMCA", ...since });
  client = await selfSigned({ commonName: "kmipClient", ...since });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function openssl(...given: readonly string[]): string {
  return execFileSync("openssl", given, {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
  }).toString();
}

/** A self-signed certificate as OpenSSL makes it. */
function made(keyType: readonly string[], ...more: readonly string[]): string {
  const subject = ["-subj", "/CN=by openssl", "-days", "10"];
  openssl(
    "req",
    "-x509",
    "-nodes",
    "-newkey",
    ...keyType,
    "-keyout",
    "k.pem",
    "-out",
    "c.pem",
    ...subject,
    ...more,
  );
  return readFileSync(join(folder, "c.pem"), "utf8");
}

async function refusal(
  text: string,
  kind: "client" | "authority" = "client",
  shown = false,
): Promise<string> {
  try {
    await checkUsable(readPasted(text), kind, nowMs, shown);
    return "";
  } catch (error) {
    expect(error).toMatchObject({ name: "ManagementError", code: "certificateInvalid" });
    const { message } = error as Error;
    expect(message).not.toContain("\n");
    expect(message).not.toMatch(/[A-Za-z0-9+/]{65}/);
    return message;
  }
}

describe("a pasted certificate", () => {
  test("with a key that OpenSSL cannot use here is refused: secp256k1, in FIPS mode", async () => {
    const pem = made(["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"]);
    const refused = getFips() === 1;
    expect(await refusal(pem)).toMatch(
      refused ? /^the certificate has a key OpenSSL cannot use here/ : /^$/,
    );
    const read = () => parseCertificates(pem, "instances[0].certificates[0]");
    if (refused)
      expect(read).toThrow(/^instances\[0\]\.certificates\[0\]: holds a certificate whose/);
    else expect(keyTypeOf(read()[0] as X509Certificate)).toBe("EC secp256k1");
  });

  test("may have text around its tags, and any line ends", () => {
    const text = `Certificate:\r\n  Data:\r\n${client.certificate.replaceAll("\n", "\r\n")}\r\n\r\n`;
    expect(readPasted(text).fingerprint256).toBe(
      new X509Certificate(client.certificate).fingerprint256,
    );
  });

  test.each<[string, () => string, RegExp]>([
    ["a private key", () => client.key, /holds, a private key/],
    ["certificate and key", () => client.certificate + client.key, /holds, a private key/],
    [
      "a signing request",
      () => "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----",
      /signing request.*authority sign/,
    ],
    [
      "a request of Microsoft's",
      () => "-----BEGIN NEW CERTIFICATE REQUEST-----\nMIIB\n-----END NEW CERTIFICATE REQUEST-----",
      /signing request/,
    ],
    ["a chain", () => client.certificate + authority.certificate, /these are 2 certificates/],
    [
      "PKCS#7",
      () => "-----BEGIN PKCS7-----\nMIIB\n-----END PKCS7-----",
      /openssl pkcs7 -print_certs/,
    ],
    [
      "a public key",
      () => "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
      /public key/,
    ],
    ["an SSH key", () => "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC root@vc", /SSH key/],
    ["DER", () => new X509Certificate(client.certificate).raw.toString("latin1"), /-inform der/],
    [
      "base64 without tags",
      () => new X509Certificate(client.certificate).raw.toString("base64"),
      /without its tags/,
    ],
    ["cut short", () => client.certificate.split("-----END")[0] as string, /the end is missing/],
    ["without its beginning", () => client.certificate.slice(28), /the beginning is missing/],
    [
      "not base64 between its tags",
      () => "-----BEGIN CERTIFICATE-----\n<pasted image>\n-----END CERTIFICATE-----",
      /not base64/,
    ],
    [
      "incomplete between its tags",
      () => client.certificate.replace(/\n.*\n-----END/, "\n-----END"),
      /cut off or altered/,
    ],
    ["garbage", () => "the quick brown fox jumps over the lazy dog", /contains no certificate/],
  ])("that is %s is refused, with advice on what to do", async (_name, text, why) => {
    expect(await refusal(text())).toMatch(why);
  });
});

describe("a certificate", () => {
  test("of a client or an authority is accepted", async () => {
    expect(await refusal(client.certificate)).toBe("");
    expect(await refusal(authority.certificate, "authority")).toBe("");
  });

  test("that `openssl req -x509` makes for a client is accepted as a client's", async () => {
    const pem = made(["rsa:2048"]);
    expect(new X509Certificate(pem).ca).toBe(true);
    expect(await refusal(pem)).toBe("");
  });

  test("of an authority is refused as a client's, unless a client has presented it", async () => {
    expect(await refusal(authority.certificate)).toMatch(/kind authority/);
    expect(await refusal(authority.certificate, "client", true)).toBe("");
  });

  test("of a client is refused as an authority's", async () => {
    expect(await refusal(client.certificate, "authority")).toMatch(/kind client/);
  });

  test("that has expired is refused with the day", async () => {
    const old = await selfSigned({ commonName: "old", notBeforeMs: nowMs - 9 * dayMs, days: 5 });
    expect(await refusal(old.certificate)).toMatch(
      /^CN=old expired on 20\d\d-\d\d-\d\d: have vCenter/,
    );
  });

  test("that can be forged is refused", async () => {
    expect(await refusal(made(["rsa:2048"], "-sha1"))).toMatch(/signed with .*1.*forged/i);
    expect(await refusal(made(["rsa:1024"]))).toMatch(/RSA key of 1024 bits/);
  });
});
