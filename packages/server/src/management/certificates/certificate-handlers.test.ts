import { X509Certificate } from "node:crypto";
import type { SystemRecord } from "@holdfast/engine";
import { type Authority, createAuthority, type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { loadInstances } from "../../access/instances.ts";
import { instanceRecordId } from "../../records/records.ts";
import { TestAccess, type TestNode } from "../../testing/access.ts";

const day = { notBeforeMs: Date.now() - 3_600_000, days: 90 };
const refusal = (code: string, detail?: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(detail ?? /./) });

let vmca: Authority;
let shown: Issued;
let other: Issued;
let world: TestAccess;

beforeAll(async () => {
  vmca = await createAuthority({ commonName: "VMCA", ...day });
  shown = await selfSigned({ commonName: "kmipClient", ...day });
  other = await selfSigned({ commonName: "other", ...day });
});
beforeEach(() => {
  world = new TestAccess();
});
afterEach(() => world[Symbol.asyncDispose]());

function add(
  node: TestNode,
  instance: string,
  { certificate }: Pick<Issued, "certificate">,
  name = "vcenter-1",
  kind = "client",
) {
  return node.call("addCertificate", {
    params: { instance },
    body: { name, kind, pem: certificate },
  });
}

const opens = (node: TestNode, { certificate }: Pick<Issued, "certificate">): string => {
  const verdict = node.trust.check(new X509Certificate(certificate), Date.now());
  return typeof verdict === "string" ? verdict : verdict.instance.id;
};

describe("adding a certificate", () => {
  test("lets the client connect to the nodes of both regions", async () => {
    const instance = await world.instance("kmip-aa");
    const { digest } = world.b.trust;
    const made = await add(world.a, "kmip-aa", shown);
    expect(made).toMatchObject({
      name: "vcenter-1",
      kind: "client",
      origin: "added",
      subject: "CN=kmipClient",
      expiry: "valid",
      addedBy: "admin",
      regions: { a: "applied", b: "applied" },
    });
    expect(opens(world.a, shown)).toBe(instance);
    await world.see();
    expect(opens(world.b, shown)).toBe(instance);
    expect(world.b.trust.digest).not.toBe(digest);
    expect(world.b.trust.digest).toBe(world.a.trust.digest);
    const params = { instance, certificate: made.fingerprint };
    expect(await world.b.call("readCertificate", { params })).toMatchObject({
      pem: shown.certificate,
    });
  });

  test.each<[string, (instance: string, second: string) => Promise<unknown>, string, RegExp]>([
    [
      "a name twice in an instance",
      (instance) => add(world.b, instance, other),
      "nameTaken",
      /kmip-aa already has a certificate with the name vcenter-1/,
    ],
    [
      "a certificate twice in an instance",
      (instance) => add(world.b, instance, shown, "again"),
      "certificateTaken",
      /kmip-aa has this certificate already, as vcenter-1/,
    ],
    [
      "a certificate of another instance",
      (_, second) => add(world.b, second, shown),
      "certificateTaken",
      /already gives access to instance kmip-aa/,
    ],
    [
      "a text that is not a certificate",
      (instance) => add(world.a, instance, { certificate: shown.key }, "key"),
      "certificateInvalid",
      /private key/,
    ],
    [
      "a certificate for an instance that does not exist",
      () => add(world.a, "nowhere", other),
      "notFound",
      /instance not found/,
    ],
  ])("%s is refused", async (_name, again, code, detail) => {
    const instance = await world.instance("kmip-aa");
    const second = await world.instance("kmip-bb");
    await add(world.a, instance, shown);
    await expect(again(instance, second)).rejects.toEqual(refusal(code, detail));
  });

  test("limits a client, or those of an authority, to operations; connections under another limit end", async () => {
    const instance = await world.instance("kmip-aa");
    const issued = await vmca.issue({ commonName: "host", ...day });
    const put = async (name: string, kind: string, pem: string, operations?: readonly string[]) => {
      const body = { name, kind, pem, operations };
      return await world.a.call("addCertificate", { params: { instance }, body });
    };
    const { operations } = await put("vc", "client", shown.certificate, ["vsphere"]);
    expect(operations).toEqual(["vsphere"]);
    await put("vmca", "authority", vmca.certificate, ["read-only", "Create"]);
    await world.see();
    const admitted = ({ certificate }: { readonly certificate: string }) =>
      world.nodes.map(({ trust }) => {
        const given = trust.check(new X509Certificate(certificate), Date.now());
        if (typeof given === "string") throw new Error(given);
        return given;
      });
    const limits = (issuedTo: { readonly certificate: string }) =>
      admitted(issuedTo).map((one) => one.operations?.join(" "));
    expect(limits(shown)).toEqual(["vsphere", "vsphere"]);
    expect(limits(issued)).toEqual(["Create read-only", "Create read-only"]);
    const before = { shown: admitted(shown), issued: admitted(issued) };
    const stays = (client: "shown" | "issued") =>
      world.nodes.map(({ trust }, at) => {
        const certificate = new X509Certificate({ shown, issued }[client].certificate);
        const admission = before[client][at];
        return admission !== undefined && trust.recheck(admission, certificate, Date.now());
      });
    expect([stays("shown"), stays("issued")]).toEqual([
      [true, true],
      [true, true],
    ]);
    const update = (certificate: string, given: readonly string[]) =>
      world.b.call("updateCertificate", {
        params: { instance, certificate },
        body: { operations: given },
      });
    expect(await update("vc", ["all"])).not.toHaveProperty("operations");
    await update("vmca", ["Get"]);
    await world.see();
    expect([limits(shown), limits(issued)]).toEqual([
      [undefined, undefined],
      ["Get", "Get"],
    ]);
    expect([stays("shown"), stays("issued")]).toEqual([
      [false, false],
      [false, false],
    ]);
    await expect(update("nobody", ["all"])).rejects.toEqual(refusal("notFound", /./));
  });

  test("tells a token that is bound to an instance nothing about other instances", async () => {
    const [first, second] = [await world.instance("secret"), await world.instance("mine")];
    await add(world.a, first, shown);
    const body = { name: "x", kind: "client", pem: shown.certificate };
    const tried = world.b.call(
      "addCertificate",
      { params: { instance: second }, body },
      { roles: ["security-officer"], instances: [second] },
    );
    await expect(tried).rejects.toEqual(refusal("certificateTaken", /^(?!.*secret).*another/));
  });

  test("of an authority is refused to a token that is bound: it would claim the clients of others", async () => {
    const instance = await world.instance("mine");
    const by = { roles: ["security-officer"] as const, instances: [instance] };
    const body = { name: "ca", kind: "authority", pem: vmca.certificate };
    const tried = world.a.call("addCertificate", { params: { instance }, body }, by);
    await expect(tried).rejects.toEqual(refusal("forbidden", /a token that is bound adds none/));
    await add(world.a, instance, vmca, "ca", "authority");
  });

  test("shows when a client connected last, each node its own", async () => {
    await world.instance("kmip-aa");
    const { id, fingerprint } = await add(world.a, "kmip-aa", shown);
    world.a.lastConnections.note(fingerprint, Date.UTC(2026, 10, 25, 20, 12, 9));
    const params = { instance: "kmip-aa", certificate: id };
    const lastConnection = { region: "a", node: "a1", time: "2026-11-25T20:12:09.000Z" };
    expect(await world.a.call("readCertificate", { params })).toMatchObject({ lastConnection });
    const { items } = await world.a.call("listCertificates", { params });
    expect(items).toEqual([expect.objectContaining({ lastConnection })]);
    await world.see();
    expect(await world.b.call("readCertificate", { params })).not.toHaveProperty("lastConnection");
  });

  test("in two regions at the same time succeeds in only one", async () => {
    const [first, second] = [await world.instance("kmip-aa"), await world.instance("kmip-bb")];
    for (const [one, two] of [
      [world.a, world.b],
      [world.b, world.a],
    ] as const) {
      const raced = await selfSigned({ commonName: "raced", ...day });
      const name = `vcenter of ${one.region.name}`;
      const tries = await Promise.allSettled([
        add(one, first, raced, name),
        add(two, second, raced, name),
      ]);
      expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      const lost = tries.find((one) => one.status === "rejected");
      expect(lost?.reason).toEqual(refusal("certificateTaken"));
      await world.see();
      expect(opens(world.a, raced)).toBe(opens(world.b, raced));
    }
  });

  test("is refused while the other region cannot be reached, and says so", async () => {
    const instance = await world.instance("kmip-aa");
    world.regions.linked = false;
    await expect(add(world.a, instance, shown)).rejects.toEqual(
      refusal("peerUnreachable", /nothing was added.*both regions/),
    );
    expect(opens(world.a, shown)).toBe("unknownCertificate");
  });

  test("never gives an authority and its certificates access to two instances", async () => {
    const [first, second] = [await world.instance("kmip-aa"), await world.instance("kmip-bb")];
    const issued = await vmca.issue({ commonName: "client", ...day });
    await add(world.a, first, issued);
    await expect(add(world.b, second, vmca, "vmca", "authority")).rejects.toEqual(
      refusal("certificateTaken", /kmip-aa has a certificate that this authority issued/),
    );
    await add(world.b, first, vmca, "vmca", "authority");
    const later = await vmca.issue({ commonName: "later", ...day });
    await expect(add(world.a, second, later)).rejects.toEqual(
      refusal("certificateTaken", /issued by an authority of instance kmip-aa/),
    );
    await world.see();
    expect(opens(world.b, later)).toBe(first);
  });

  test("gives access to one instance at most if an authority and its certificate are added to two at once", async () => {
    const [first, second] = [await world.instance("kmip-aa"), await world.instance("kmip-bb")];
    const ca = await createAuthority({ commonName: "raced CA", ...day });
    const issued = await ca.issue({ commonName: "client", ...day });
    await Promise.allSettled([
      add(world.a, first, ca, "ca", "authority"),
      add(world.b, second, issued),
    ]);
    await world.see();
    const listed = await Promise.all(
      [first, second].map((instance) => world.a.call("listCertificates", { params: { instance } })),
    );
    expect(listed.flatMap(({ items }) => items).length).toBeLessThanOrEqual(1);
  });
});

describe("an instance", () => {
  test("accepts certificates while it is Inactive, but admits clients only while it is Installed", async () => {
    const instance = await world.instance("kmip-aa", "Inactive");
    await add(world.a, instance, shown);
    expect(opens(world.a, shown)).toBe("unknownCertificate");
    const { records } = world.regions.a;
    const record = instanceRecordId(instance);
    const set = (status: SystemRecord<"Instance">["status"]) =>
      records.change("Instance", record, () => ({ status }), []);
    await set("Installed");
    expect(opens(world.a, shown)).toBe(instance);
    const admitted = world.a.trust.check(new X509Certificate(shown.certificate), Date.now());
    if (typeof admitted === "string") throw new Error(admitted);
    expect(world.a.trust.isCurrent(admitted)).toBe(true);
    await set("Removing");
    expect(opens(world.a, shown)).toBe("unknownCertificate");
    expect(world.a.trust.isCurrent(admitted)).toBe(false);
    await expect(add(world.a, instance, other)).rejects.toEqual(refusal("wrongState", /Removing/));
  });

  test("of the configuration shows its certificates and refuses others", async () => {
    const entry = { id: undefined, name: "file", users: [], authorities: [] };
    const declared = loadInstances([{ ...entry, certificates: [shown.certificate] }]);
    await using own = new TestAccess({ declared });
    const { items } = await own.a.call("listCertificates", { params: { instance: "file" } });
    expect(items).toMatchObject([{ origin: "configuration", subject: "CN=kmipClient" }]);
    await expect(add(own.a, "file", other)).rejects.toEqual(
      refusal("declared", /file is declared/),
    );
    await own.instance("kmip-aa");
    await expect(add(own.a, "kmip-aa", shown)).rejects.toEqual(
      refusal("certificateTaken", /already gives access to instance file/),
    );
  });
});

describe("deleting a certificate", () => {
  test("ends access here at once, in the other region once it is reached; adding it again makes a new entry", async () => {
    const instance = await world.instance("kmip-aa");
    const made = await add(world.a, instance, shown);
    await world.see();
    world.regions.linked = false;
    const params = { instance, certificate: "vcenter-1" };
    const { regions } = await world.b.call("deleteCertificate", { params });
    expect(regions).toEqual({ a: "pending", b: "applied" });
    expect([opens(world.a, shown), opens(world.b, shown)]).toEqual([
      instance,
      "unknownCertificate",
    ]);
    world.regions.linked = true;
    await world.see();
    expect(opens(world.a, shown)).toBe("unknownCertificate");
    await expect(world.a.call("readCertificate", { params })).rejects.toEqual(refusal("notFound"));
    const again = await add(world.a, instance, shown);
    expect(again.id).not.toBe(made.id);
  });
});

describe("an instance's own authority", () => {
  test("is the same in both regions, whichever makes it, and both sign with it", async () => {
    const instance = await world.instance("kmip-aa");
    const params = { instance };
    await expect(world.a.call("readAuthority", { params })).rejects.toEqual(refusal("notFound"));
    const made = await Promise.all(
      world.nodes.map((node, at) =>
        node.call("issuePair", { params, body: { name: `vcenter-${at}`, days: 30 } }),
      ),
    );
    expect(made[0]?.authority).toBe(made[1]?.authority);
    await world.see();
    const own = { certificate: made[0]?.authority ?? "" };
    await expect(add(world.a, instance, own, "own", "authority")).rejects.toEqual(
      refusal("certificateTaken", /kmip-aa has an authority with this name and key already/),
    );
    for (const { pem, privateKey, certificate } of made) {
      expect(opens(world.b, { certificate: pem })).toBe(instance);
      expect(certificate.origin).toBe("issued");
      expect(JSON.stringify([...world.regions.a.view.records()])).not.toContain(
        privateKey.split("\n")[1],
      );
    }
    // Its signature alone gives no access: a certificate that was deleted is unknown.
    const deleted = { instance, certificate: "vcenter-0" };
    await world.a.call("deleteCertificate", { params: deleted });
    expect(opens(world.a, { certificate: made[0]?.pem ?? "" })).toBe("unknownCertificate");
  });

  test("cannot sign while the instance's keys cannot be opened", async () => {
    const instance = await world.instance("kmip-aa");
    world.root.fail("unavailable");
    const body = { name: "vcenter-1", days: 30 };
    await expect(world.a.call("issuePair", { params: { instance }, body })).rejects.toEqual(
      refusal("rootUnavailable", /root of trust/),
    );
  });

  test("signs certificates that no other instance accepts", async () => {
    const [first, second] = [await world.instance("kmip-aa"), await world.instance("kmip-bb")];
    const body = { name: "vcenter-1", days: 30 };
    const { pem } = await world.a.call("issuePair", { params: { instance: first }, body });
    const params = { instance: first, certificate: "vcenter-1" };
    await world.a.call("deleteCertificate", { params });
    await expect(add(world.a, second, { certificate: pem })).rejects.toEqual(
      refusal("certificateTaken", /issued by an authority of instance kmip-aa/),
    );
  });
});

test("certificates are listed page by page, each once", async () => {
  const instance = await world.instance("kmip-aa");
  const { records } = world.regions.a;
  const certificate = new X509Certificate(shown.certificate);
  const { certificateFixed } = await import("./certificate-values.ts");
  const about = {
    instance,
    kind: "client",
    origin: "added",
    createdMs: 1,
    createdBy: "t",
  } as const;
  const fixed = certificateFixed(certificate, about);
  for (let at = 0; at < 250; at += 1) {
    const fingerprint = at.toString(16).padStart(64, "0");
    await records.create("Certificate", { ...fixed, fingerprint, name: `c${at}` }, []);
  }
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await world.a.call("listCertificates", {
      params: { instance },
      query: { limit: 100, cursor },
    });
    seen.push(...page.items.map(({ name }) => name));
    cursor = page.next;
  } while (cursor !== undefined);
  expect(new Set(seen).size).toBe(250);
  expect(seen).toHaveLength(250);
});
