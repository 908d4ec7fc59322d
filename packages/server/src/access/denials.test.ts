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
  certificate = make("c", "/C=DE/O=Example, Inc.+OU=R; D  x/CN=vCenter Öst");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A certificate in a file; a subject as the option `-subj` of OpenSSL takes it. */
function make(file: string, subject: string): X509Certificate {
  const made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8"];
  const how = ["-keyout", "k", "-out", file, "-subj", subject];
  const more = ["-set_serial", "0x0a0b0c", "-multivalue-rdn"];
  execFileSync("openssl", ["req", ...made, ...how, ...more], { cwd: folder, stdio: "ignore" });
  return new X509Certificate(readFileSync(join(folder, file)));
}

const print = (file: string, ...args: readonly string[]): string =>
  execFileSync("openssl", ["x509", "-in", file, "-noout", ...args], { cwd: folder })
    .toString("utf8")
    .replace(/\n$/, "");
const openssl = (...args: readonly string[]): string => print("c", ...args).trim();

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

describe("a denial names a certificate whose name", () => {
  /** All types that OpenSSL gives a name. */
  const types =
    "/C=DE/ST=B/L=M/street=Way 1/postalCode=1/DC=x/O=Example/OU=R/title=T/SN=S/GN=G/initials=I" +
    "/pseudonym=P/dnQualifier=D/generationQualifier=Q/name=N/serialNumber=17/UID=u" +
    "/emailAddress=a@b/unstructuredName=un/businessCategory=bc/jurisdictionC=DE" +
    "/jurisdictionST=B/jurisdictionL=M/organizationIdentifier=oi/description=d" +
    "/telephoneNumber=12/CN=all";

  test.each([
    ["ends in a space", "/O=bar/CN=foo ", "CN=foo, O=bar"],
    ["has such a part before others", "/CN=foo /O=bar ", "O=bar,CN=foo"],
    ["begins with a space", "/CN= foo/O=bar", String.raw`CN=\ foo, O=bar`],
    ["is in Unicode's form NFD", "/CN=vCenter O\u0308st", "CN=vcenter \u00f6st"],
    ["has a compatible character", "/CN=\uff46oo\u00b2", "CN=foo2"],
    [
      "has many types",
      types,
      `OID.2.5.4.5=17, ${types.slice(1).replaceAll("/", ", ")}`.replace(", serialNumber=17", ""),
    ],
    [
      "has types that Java prints",
      "/SN=a/GN=b/title=c/UID=d",
      "SURNAME=a, GIVENNAME=b, T=c, UID=d",
    ],
    ["has types that Windows prints", "/SN=a/GN=b/ST=c", "SN=a, G=b, S=c"],
  ])("%s", (_, subject, written) => {
    const made = make("x", subject);
    const names = denialNames(made);
    expect(names).toContain(named({ subject: written }));
    expect(names).toContain(named({ issuer: written, serial: "0a0b0c" }));
    for (const opt of [
      "utf8",
      "oneline,utf8",
      "RFC2253,utf8",
      "RFC2253",
      "multiline,utf8",
      "oneline,lname",
      "RFC2253,oid",
      "oneline,oid",
    ]) {
      const nameopt = ["-nameopt", `${opt},-esc_msb`];
      expect(names).toContain(named({ subject: print("x", "-subject", ...nameopt) }));
    }
    expect(names).toContain(named({ subject: made.subject }));
    const match = named({ subject: written }) as string;
    expect(named(deniedParts(match))).toBe(match);
  });

  test("is another one is not named", () => {
    const names = denialNames(make("x", "/CN=foo /O=bar"));
    for (const subject of ["CN=foo O=bar", "CN=foo", "CN=f oo, O=bar", "OU=foo, O=bar"]) {
      expect(names).not.toContain(named({ subject }));
    }
  });

  test("has an empty part keeps its other parts", () => {
    // OpenSSL's command makes no such certificate.
    const names = { subject: "O=\nCN=x", issuer: "CN=\nO=y" };
    const shown = { fingerprint256: "00", serialNumber: "01", ...names };
    const found = denialNames(shown as unknown as X509Certificate);
    expect(found.slice(1)).toEqual(["serial 1 cn=,o=y", "subject cn=x,o="]);
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
