import { X509Certificate } from "node:crypto";
import { type Authority, createAuthority, type Issued, selfSigned } from "@holdfast/testing/pki";
import { beforeAll, describe, expect, test } from "vitest";
import { purposes } from "../base/certificates.ts";
import { denialNames } from "./denials.ts";
import { instanceIdOf, loadInstances } from "./instances.ts";
import { pinnedOf, Trust } from "./trust.ts";

const day = 86_400_000;
const notBeforeMs = Date.UTC(2026, 0, 1);
const nowMs = notBeforeMs + day;
const leaf = (commonName: string, extra = {}) => ({ commonName, notBeforeMs, days: 10, ...extra });

let one: Authority;
let other: Authority;
let pinned: Issued;

beforeAll(async () => {
  one = await createAuthority({ commonName: "CA", notBeforeMs, days: 5 });
  // The same name: only the signature tells them apart.
  other = await createAuthority({ commonName: "CA", notBeforeMs, days: 5 });
  pinned = await selfSigned(leaf("kmipClient"));
});

const entry = (name: string, certificates: string[], authorities: string[] = []) => ({
  id: undefined,
  name,
  certificates,
  authorities,
  users: [],
});
const parse = (issued: { readonly certificate: string }) => new X509Certificate(issued.certificate);
const trustOf = (...entries: ReturnType<typeof entry>[]) => new Trust(loadInstances(entries));

function verdict(trust: Trust, certificate: X509Certificate | undefined, atMs = nowMs): string {
  const result = trust.check(certificate, atMs);
  return typeof result === "string" ? result : result.instance.name;
}

describe("trust", () => {
  test.each([
    [
      ["vsphere", "Locate"],
      ["Locate", "vsphere"],
    ],
    [["all"], undefined],
    [undefined, undefined],
  ])("limits all clients of an instance of the configuration to %j", async (operations, limit) => {
    const issued = await one.issue(leaf("vcenter"));
    const declared = entry("i", [pinned.certificate], [one.certificate]);
    const trust = new Trust(loadInstances([{ ...declared, ...(operations && { operations }) }]));
    for (const client of [pinned, issued]) {
      expect(trust.check(parse(client), nowMs)).toMatchObject({ operations: limit });
    }
  });

  test("checks the dates of a pinned leaf, but not its purpose and issuer", async () => {
    const odd = await selfSigned(leaf("odd", { purposes: [purposes.serverAuth] }));
    const trust = trustOf(entry("a", [pinned.certificate]), entry("b", [odd.certificate]));
    expect(verdict(trust, parse(pinned))).toBe("a");
    expect(verdict(trust, parse(odd))).toBe("b");
    expect(verdict(trust, parse(pinned), notBeforeMs - 1)).toBe("notYetValid");
    expect(verdict(trust, parse(pinned), notBeforeMs + 10 * day + 1)).toBe("expired");
    expect(verdict(trust, parse(await selfSigned(leaf("kmipClient"))))).toBe("unknownCertificate");
    expect(verdict(trust, undefined)).toBe("noCertificate");
  });

  test("selects the instance of an issued leaf by the authority's signature, not by its name", async () => {
    const trust = trustOf(entry("a", [], [one.certificate]), entry("b", [], [other.certificate]));
    const ofOne = parse(await one.issue(leaf("client")));
    const ofOther = parse(await other.issue(leaf("client")));
    for (let round = 0; round < 2; round++) {
      expect(verdict(trust, ofOne)).toBe("a");
      expect(verdict(trust, ofOther)).toBe("b");
    }
    expect(verdict(trustOf(entry("a", [], [one.certificate])), ofOther)).toBe("unknownCertificate");
  });

  test("limits a leaf to what all certificates of its authority in the instance allow", async () => {
    const trust = new Trust();
    const [a, b] = [instanceIdOf("a"), instanceIdOf("b")];
    trust.setTenant(a, { name: "a", users: new Map() });
    trust.setTenant(b, { name: "b", users: new Map() });
    const issued = parse(await one.issue(leaf("client")));
    const limit = () => {
      const admission = trust.check(issued, nowMs);
      if (typeof admission === "string") throw new Error(admission);
      expect(admission.instance.name).toBe("a");
      expect(trust.isCurrent(admission)).toBe(true);
      return admission.operations;
    };
    trust.bind("free", a, parse(one), "1");
    expect(limit()).toBeUndefined();
    trust.bind("vsphere", a, parse(one), "2", ["vsphere"]);
    expect(limit()).toEqual(["vsphere"]);
    trust.bind("read", a, parse(one), "3", ["read-only"]);
    trust.bind("same name", a, parse(other), "4", []);
    trust.bind("other instance", b, parse(one), "5", []);
    expect(limit()).toEqual(["Get", "GetAttributes"]);
    trust.bind("locate", a, parse(one), "6", ["Locate"]);
    expect(limit()).toEqual([]);
    // Each removal counts at once, also of one that did not admit the client.
    trust.remove("locate");
    expect(limit()).toEqual(["Get", "GetAttributes"]);
    trust.remove("vsphere");
    expect(limit()).toEqual(["read-only"]);
    trust.remove("free");
    expect(limit()).toEqual(["read-only"]);
  });

  test.each<[string, string[] | undefined, string]>([
    ["none", undefined, "a"],
    ["clientAuth", [purposes.clientAuth], "a"],
    ["serverAuth and clientAuth", [purposes.serverAuth, purposes.clientAuth], "a"],
    ["any", ["2.5.29.37.0"], "a"],
    ["serverAuth only", [purposes.serverAuth], "wrongPurpose"],
  ])("checks an issued leaf with purpose %s", async (_name, named, expected) => {
    const trust = trustOf(entry("a", [], [one.certificate]));
    const extra = named === undefined ? {} : { purposes: named };
    expect(verdict(trust, parse(await one.issue(leaf("client", extra))))).toBe(expected);
  });

  test("refuses an authority's own certificate as a client certificate", () => {
    expect(verdict(trustOf(entry("a", [], [one.certificate])), parse(one))).toBe("wrongPurpose");
  });

  test("checks the dates of leaf and authority for remembered certificates too", async () => {
    const trust = trustOf(entry("a", [], [one.certificate]));
    const client = parse(await one.issue(leaf("client")));
    expect(verdict(trust, client)).toBe("a");
    expect(verdict(trust, client, notBeforeMs + 6 * day)).toBe("expired");
    expect(verdict(trust, client, notBeforeMs - 1)).toBe("notYetValid");
    expect(verdict(trust, client)).toBe("a");
  });

  test("checks an earlier admission again when the trust has changed", async () => {
    const client = parse(await one.issue(leaf("client")));
    const before = trustOf(entry("a", [], [one.certificate]));
    const admission = before.check(client, nowMs);
    if (typeof admission === "string") throw new Error(admission);
    expect(before.recheck(admission, client, nowMs)).toBe(true);
    const without = trustOf(entry("a", []));
    expect(without.recheck(admission, client, nowMs)).toBe(false);
    expect(without.digest).not.toBe(before.digest);
    const moved = trustOf(entry("b", [], [one.certificate]));
    expect(moved.recheck(admission, client, nowMs)).toBe(false);
  });
});

describe("a trust that is changed in place", () => {
  const facts = () => pinnedOf(parse(pinned));
  const tenants = (trust: Trust) => {
    for (const name of ["a", "b"]) trust.setTenant(name, { name, users: new Map() });
  };

  test("uses the entry with the lower rank if a certificate has two, in whatever order they were added", () => {
    for (const order of [
      ["a", "b"],
      ["b", "a"],
    ]) {
      const trust = new Trust();
      tenants(trust);
      for (const name of order) {
        trust.pin(`entry of ${name}`, name, facts(), name === "a" ? "0" : "1");
      }
      expect(verdict(trust, parse(pinned))).toBe("a");
      const admission = trust.check(parse(pinned), nowMs);
      if (typeof admission === "string") throw new Error(admission);
      trust.remove("entry of a");
      expect(trust.isCurrent(admission)).toBe(false);
      expect(trust.recheck(admission, parse(pinned), nowMs)).toBe(false);
      expect(verdict(trust, parse(pinned))).toBe("b");
    }
  });

  test("prefers a pin to an authority, and forgets an authority's clients when it is removed", async () => {
    const trust = new Trust();
    tenants(trust);
    const empty = trust.digest;
    trust.bind("authority", "a", parse(one), "1");
    const client = parse(await one.issue(leaf("client")));
    const admission = trust.check(client, nowMs);
    if (typeof admission === "string") throw new Error(admission);
    expect(trust.isCurrent(admission)).toBe(true);
    trust.pin("pin", "b", pinnedOf(client), "1");
    expect(verdict(trust, client)).toBe("b");
    trust.remove("pin");
    expect(verdict(trust, client)).toBe("a");
    trust.remove("authority");
    expect(verdict(trust, client)).toBe("unknownCertificate");
    expect(trust.digest).toBe(empty);
    trust.remove("authority");
  });

  test("shows connected clients the instance's current name and users", () => {
    const trust = new Trust();
    tenants(trust);
    trust.pin("pin", "a", facts(), "1");
    const admission = trust.check(parse(pinned), nowMs);
    if (typeof admission === "string") throw new Error(admission);
    const users = new Map();
    trust.setTenant("a", { name: "renamed", users });
    expect(admission.instance).toMatchObject({ id: "a", name: "renamed" });
    expect(admission.instance.users).toBe(users);
    expect(trust.isCurrent(admission)).toBe(true);
  });
});

describe("instances", () => {
  test.each<[string, () => Promise<ReturnType<typeof entry>[]>]>([
    [
      "pinned in both",
      async () => [entry("a", [pinned.certificate]), entry("b", [pinned.certificate])],
    ],
    [
      "an authority of both",
      async () => [entry("a", [], [one.certificate]), entry("b", [], [one.certificate])],
    ],
    [
      "pinned in one, issued by an authority of the other",
      async () => {
        const { certificate } = await one.issue(leaf("client"));
        return [entry("a", [certificate]), entry("b", [], [one.certificate])];
      },
    ],
  ])("are refused if two share a certificate (%s)", async (_name, entries) => {
    const made = await entries();
    expect(() => loadInstances(made)).toThrow(
      /gives access to both (a and b|b and a); a certificate belongs/,
    );
  });

  test("may name the same certificate twice within one instance", () => {
    expect(loadInstances([entry("a", [pinned.certificate, pinned.certificate])])).toHaveLength(1);
  });

  test.each<[string, () => ReturnType<typeof entry>, string]>([
    [
      "a missing file",
      () => entry("a", ["/nowhere/x.pem"]),
      "instances[0].certificates[0]: /nowhere/x.pem: no such file",
    ],
    [
      "a file without PEM",
      () => entry("a", [`${import.meta.dirname}/../base/address.ts`]),
      "holds no PEM certificate",
    ],
    [
      "a private key",
      () => entry("a", [pinned.key]),
      "instances[0].certificates[0]: holds no PEM certificate",
    ],
    [
      "a leaf as authority",
      () => entry("a", [], [pinned.certificate]),
      "instances[0].authorities[0]: CN=kmipClient is not a certificate authority",
    ],
    [
      "garbage",
      () => entry("a", ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]),
      "holds a certificate that cannot be read",
    ],
  ])("with %s are refused with the name of the setting", (_name, make, message) => {
    expect(() => loadInstances([make()])).toThrow(message);
    try {
      loadInstances([make()]);
    } catch (error) {
      expect((error as Error).message).not.toContain("PRIVATE");
    }
  });

  test("get an identifier from their name: a UUID that never changes", () => {
    expect(instanceIdOf("demo")).toBe("262df6ad-eab2-8dbc-9c19-4cd0413165de");
    expect(instanceIdOf("demo2")).not.toBe(instanceIdOf("demo"));
  });
});

describe("a denial", () => {
  const admitted = (trust: Trust, certificate: X509Certificate) => {
    const admission = trust.check(certificate, nowMs);
    if (typeof admission === "string") throw new Error(admission);
    return admission;
  };

  test.each([
    ["fingerprint", 0],
    ["issuer and serial number", 1],
    ["subject", 2],
  ])("by %s shuts out one client of an authority, and is lifted", async (_, way) => {
    const trust = trustOf(entry("a", [pinned.certificate], [one.certificate]));
    const [shut, other] = await Promise.all(
      ["shut", "other"].map(async (name) => parse(await one.issue(leaf(name)))),
    );
    if (shut === undefined || other === undefined) throw new Error("two clients");
    const [before, kept] = [admitted(trust, shut), admitted(trust, other)];
    const { digest } = trust;
    trust.deny("denial", denialNames(shut)[way]);
    expect(verdict(trust, shut)).toBe("denied");
    expect(trust.isCurrent(before)).toBe(false);
    expect(trust.recheck(before, shut, nowMs)).toBe(false);
    expect(trust.isCurrent(kept)).toBe(true);
    expect([verdict(trust, other), verdict(trust, parse(pinned))]).toEqual(["a", "a"]);
    expect(trust.digest).not.toBe(digest);
    // The same may be denied twice.
    trust.deny("again", denialNames(shut)[way]);
    trust.allow("denial");
    expect(verdict(trust, shut)).toBe("denied");
    trust.allow("again");
    expect(verdict(trust, shut)).toBe("a");
    expect(trust.isCurrent(before)).toBe(true);
    expect(trust.digest).toBe(digest);
  });

  test("of a pinned certificate ends its admission, and so does one of an authority for its clients", async () => {
    const trust = trustOf(entry("a", [pinned.certificate], [one.certificate]));
    const issued = parse(await one.issue(leaf("client")));
    const [ofPin, ofAuthority] = [admitted(trust, parse(pinned)), admitted(trust, issued)];
    trust.deny("pin", denialNames(parse(pinned))[0]);
    trust.deny("authority", denialNames(parse(one))[0]);
    expect([trust.isCurrent(ofPin), trust.isCurrent(ofAuthority)]).toEqual([false, false]);
    expect([verdict(trust, parse(pinned)), verdict(trust, issued)]).toEqual(["denied", "denied"]);
    expect(verdict(trust, parse(await one.issue(leaf("later"))))).toBe("denied");
  });

  test("that cannot be read shuts out everybody, as does a deny list that was not read yet", () => {
    const trust = trustOf(entry("a", [pinned.certificate]));
    const admission = admitted(trust, parse(pinned));
    trust.deny("denial", undefined);
    expect(verdict(trust, parse(pinned))).toBe("denyListUnreadable");
    expect(trust.isCurrent(admission)).toBe(false);
    trust.allow("denial");
    expect(trust.isCurrent(admission)).toBe(true);
    let known = false;
    trust.awaitDenials(() => known);
    expect(verdict(trust, parse(pinned))).toBe("denyListUnreadable");
    known = true;
    expect(verdict(trust, parse(pinned))).toBe("a");
  });
});
