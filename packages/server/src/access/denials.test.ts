import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DeniedParts, denialName, denialNames, deniedParts } from "./denials.ts";

let folder: string;
let certificate: X509Certificate;

/** A certificate whose name has every character that printers treat in their own way. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-denials-"));
  const subject = "/C=DE/O=Example, Inc.+OU=R; D  x/CN=vCenter Öst";
  const made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "c", "-utf8"];
  const how = ["-subj", subject, "-set_serial", "0x0a0b0c", "-multivalue-rdn"];
  execFileSync("openssl", ["req", ...made, ...how], { cwd: folder, stdio: "ignore" });
  certificate = new X509Certificate(readFileSync(join(folder, "c")));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const openssl = (...args: readonly string[]): string =>
  execFileSync("openssl", ["x509", "-in", "c", "-noout", ...args], { cwd: folder })
    .toString("utf8")
    .trim();

const named = (parts: DeniedParts): unknown => {
  const name = denialName(parts);
  return "match" in name ? name.match : name.fault;
};

describe("a denial names a certificate", () => {
  test("by its fingerprint, with or without colons", () => {
    const { fingerprint256: fingerprint } = certificate;
    for (const text of [fingerprint, fingerprint.replaceAll(":", ""), fingerprint.toLowerCase()]) {
      expect(denialNames(certificate)).toContain(named({ fingerprint: text }));
    }
  });

  test.each([
    "utf8",
    "oneline",
    "oneline,utf8,-esc_msb",
    "RFC2253",
    "RFC2253,-esc_msb",
    "multiline,utf8,-esc_msb",
  ])("by a subject, and by issuer and serial number, as OpenSSL prints them with %s", (nameopt) => {
    const print = (what: string) => openssl(what, ...(nameopt === "" ? [] : ["-nameopt", nameopt]));
    expect(denialNames(certificate)).toContain(named({ subject: print("-subject") }));
    for (const serial of ["0A0B0C", "0a:0b:0c", "0x0A0B0C", "a0b0c"]) {
      const issuer = print("-issuer");
      expect(denialNames(certificate)).toContain(named({ issuer, serial }));
    }
  });

  test("by the text that Node prints; reading a denial and writing it again changes nothing", () => {
    const { subject, issuer, serialNumber: serial } = certificate;
    for (const parts of [{ subject }, { issuer, serial }] as DeniedParts[]) {
      const match = named(parts) as string;
      expect(denialNames(certificate)).toContain(match);
      expect(named(deniedParts(match))).toBe(match);
    }
  });

  test("and no other one", () => {
    const names = denialNames(certificate);
    const { issuer } = certificate;
    for (const parts of [
      { subject: "CN=vCenter Öst" },
      { subject: "C=DE, O=Example, CN=vCenter Öst" },
      { issuer, serial: "0a0b0d" },
      { issuer: "CN=other", serial: "0a0b0c" },
      { fingerprint: "00".repeat(32) },
    ]) {
      expect(names).not.toContain(named(parts));
    }
  });
});

test.each<[DeniedParts, RegExp]>([
  [{}, /give the fingerprint, or/],
  [{ fingerprint: "00".repeat(32), subject: "CN=x" }, /give the fingerprint, or/],
  [{ fingerprint: "00".repeat(20) }, /SHA-256 .*: 64 hexadecimal digits/],
  [{ subject: "vcenter.example" }, /subject is a name such as "CN=/],
  [{ subject: "CN=" }, /subject is a name such as/],
  [{ subject: "" }, /subject is a name such as/],
  [{ serial: "01" }, /issuer is a name such as/],
  [{ issuer: "CN=x" }, /serial number of the certificate is hexadecimal/],
  [{ issuer: "CN=x", serial: "twelve" }, /serial number of the certificate is hexadecimal/],
])("%j is refused", (parts, fault) => {
  expect(named(parts)).toMatch(fault);
});
