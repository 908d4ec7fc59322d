import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "@holdfast/testing";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type Said, settled } from "../support/command-line.ts";
import { type ManagedRegions, startManagedRegions } from "../support/managed-regions.ts";
import { patient } from "../support/root-regions.ts";
import type { TwoRegions } from "../support/two-regions.ts";
import { type StandIn, startVcenter, vcenterUser } from "../support/vcenter/index.ts";
import { hasPyvmomi, pyvmomiMissing, shapeFaults } from "../support/vcenter/pyvmomi.ts";

let folder: string;
let managed: ManagedRegions;
let vcenter: StandIn;

/** Has each node name both endpoints of its region. */
async function nameEndpoints({ nodes }: TwoRegions): Promise<void> {
  for (const { name, configFile } of nodes) {
    const [region = ""] = name;
    const own = nodes.filter((one) => one.name.startsWith(region));
    const endpoints = own.map(({ host, kmip }) => `${host}:${kmip}`).join(", ");
    const text = readFileSync(configFile, "utf8");
    const listen = /^kmip:\n( +)listen: .*$/m;
    expect(text).toMatch(listen);
    writeFileSync(configFile, text.replace(listen, `$&\n$1endpoints: [${endpoints}]`));
  }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-connect-"));
  managed = await startManagedRegions(folder, nameEndpoints);
});

afterAll(async () => {
  await managed?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  vcenter = await startVcenter();
});

afterEach(async () => {
  const exchanges = await vcenter.tell("/exchanges");
  await vcenter[Symbol.asyncDispose]();
  if (hasPyvmomi()) expect(shapeFaults(exchanges)).toEqual([]);
});
if (!hasPyvmomi()) test.skip(`the shapes of calls: ${pyvmomiMissing}`, () => undefined);

const tell = (path: string, body: object) => vcenter.tell(path, body);
const calls = async () => (await vcenter.tell("/calls")) as readonly string[];
const vcenterCommand = ([verb = "", ...more]: readonly string[], how?: readonly string[]) =>
  vcenter.command([verb, vcenter.url, ...more], how);
/** A busy machine may end a lease: then the node says that the command should be tried again. */
function connecting(...more: readonly string[]): Promise<Said> {
  const words = ["connect", "--instance", "kmip-aa", ...managed.site("a1"), ...more];
  return settled(() => vcenterCommand(words));
}

/** The certificates of vCenter that the instance accepts, as a node lists them. */
async function certificatesAt(node: string) {
  const asked = { params: { instance: managed.instance }, query: { limit: 1000 } };
  const { items } = await patient(() => managed.at(node).call("listCertificates", asked));
  return items;
}

test("connect does all that the wizard does, shows its plan first, and is green at every endpoint of both regions", async () => {
  const plan = await connecting("--dry-run", "--default");
  expect(plan).toMatchObject({ code: 0, err: "" });
  expect(plan.out.split("\n").filter((line) => line.startsWith("add key server"))).toHaveLength(4);
  expect(await calls()).not.toContain("RegisterKmipServer");
  const done = await connecting("--default");
  expect(done).toMatchObject({ code: 0, err: "" });
  expect(done.out).toContain("kmip-aa is green");
  expect(done.out).not.toContain(vcenter.password);
  await until("it is green", async () => {
    const status = await vcenterCommand(["status", "--json"]);
    expect(status.code, status.err).toBe(0);
    const [provider] = JSON.parse(status.out) as [Readonly<Record<string, unknown>>];
    expect(provider).toMatchObject({ id: "kmip-aa", isDefault: true });
    expect(provider["servers"]).toHaveLength(4);
    return provider["overall"] === "green" || status.out;
  });
  // A node that has lost its lease for a moment is not green, and is then set up again.
  await until("nothing is left to do", async () => {
    return (await connecting("--default")).out.includes("nothing to do");
  });
  await until("one certificate is known at b1", async () => {
    const items = await certificatesAt("b1");
    const made = items.filter(({ name }) => name.startsWith("vcenter-localhost-"));
    expect(made.length).toBeLessThan(2);
    return made.length === 1;
  });
});

test.each([
  "RegisterKmipServer",
  "UploadKmipServerCert",
  "GenerateClientCsr",
  "UpdateKmsSignedCsrClientCert",
  "MarkDefault",
])(
  "a failure of %s says what is done, and the same command continues without a second certificate",
  async (failing) => {
    const signed = async () => (await certificatesAt("a1")).length;
    const before = await signed();
    await tell("/faults", { failing });
    const failed = await connecting("--default");
    expect(failed.code).not.toBe(0);
    expect(failed.out).toMatch(/\d of \d+ steps are done; give the same command again to continue/);
    expect(failed.err).toMatch(
      new RegExp(`^holdfast: vCenter refused ${failing}: RuntimeFault.*\n$`),
    );
    expect(await connecting("--default")).toMatchObject({ code: 0, err: "" });
    expect((await signed()) - before).toBe(1);
  },
);

/** The port of each server that the command would add, by its name. */
async function portsOf(): Promise<ReadonlyMap<string, number>> {
  const { out } = await connecting("--dry-run");
  const added = [...out.matchAll(/^add key server (kms-\d+) at \S+:(\d+) /gm)];
  return new Map(added.map(([, name = "", port]) => [name, Number(port)]));
}

/** The command until it ends with exit code 3 for the reason that is expected: a node may ask for patience too. */
async function incomplete(...more: readonly string[]): Promise<Said> {
  let said: Said | undefined;
  await until("it says that it is not complete", async () => {
    const words = ["connect", "--instance", "kmip-aa", ...managed.site("a1"), ...more];
    said = await vcenterCommand(words);
    return said.err.includes("not complete: ");
  });
  return said as Said;
}

test("a region that vCenter cannot reach is left and named, the other one is set up, and a second run continues", async () => {
  const ports = await portsOf();
  const cut = ["kms-3", "kms-4"];
  await tell("/use", { unreachable: cut.map((name) => ports.get(name)) });
  const first = await incomplete("--default");
  expect(first.code).toBe(3);
  for (const name of cut) {
    expect(first.out).toContain(
      `left for the next run: have vCenter trust the certificate of ${name}`,
    );
    expect(first.out).toMatch(
      new RegExp(
        `^region b: ${name} at \\S+: red, Cannot connect to key server; vCenter does not`,
        "m",
      ),
    );
    expect(first.err).toContain(`region b: ${name} at`);
  }
  expect(first.out).toMatch(
    /^region a: kms-1 at \S+: green, Connected; vCenter trusts it, it trusts/m,
  );
  expect(first.err).not.toContain("region a");
  expect(await calls()).not.toContain("MarkDefault");
  await tell("/use", { unreachable: [] });
  const second = await connecting("--default");
  expect(second).toMatchObject({ code: 0, err: "" });
  expect(await calls()).toContain("MarkDefault");
  // vCenter's certificate was not made again for servers that it could not reach.
  const made = (await calls()).filter((name) => name === "UpdateKmsSignedCsrClientCert");
  expect(made).toHaveLength(1);
});

test("one server that does not let vCenter in is enough for it not to be complete", async () => {
  const ports = await portsOf();
  expect(await connecting()).toMatchObject({ code: 0, err: "" });
  await tell("/use", { refusing: [ports.get("kms-2")] });
  const said = await incomplete("--timeout", "1");
  expect(said.code).toBe(3);
  expect(said.out).toContain("sign it with the instance's authority");
  expect(said.err).toContain("region a: kms-2 at");
  expect(said.err).not.toContain("kms-1");
  await tell("/use", { refusing: [] });
  expect(await connecting()).toMatchObject({ code: 0, err: "" });
});

test("a certificate of vCenter that ends soon is renewed, once", async () => {
  const made = async () =>
    (await calls()).filter((name) => name === "UpdateKmsSignedCsrClientCert").length;
  expect(await connecting("--days", "30")).toMatchObject({ code: 0, err: "" });
  // A new one would be valid for hardly longer.
  await until("nothing is left to do", async () => {
    return (await connecting("--days", "30")).out.includes("nothing to do");
  });
  const plan = await connecting("--dry-run");
  expect(plan.out).toMatch(/^renew vCenter's certificate, which ends in (29|30) days: /m);
  const requests = async () =>
    (await calls()).filter((name) => name === "GenerateClientCsr").length;
  const requested = await requests();
  await tell("/faults", { failing: "UpdateKmsSignedCsrClientCert" });
  expect((await connecting()).err).toContain("A general system error occurred");
  const before = await made();
  const renewed = await connecting();
  expect(renewed).toMatchObject({ code: 0, err: "" });
  // Not a second request: an approval would be for the first one.
  expect((await requests()) - requested).toBe(1);
  expect(renewed.out).toContain("done: renew vCenter's certificate");
  expect((await made()) - before).toBe(1);
  const { out } = await vcenterCommand(["status"]);
  expect(out).toMatch(/vCenter's certificate ends in 36[45] days/);
  await until("nothing is left to do", async () => {
    return (await connecting()).out.includes("nothing to do");
  });
});

test("a busy or slow vCenter and an expired session only take longer", async () => {
  await tell("/faults", { busy: 2, expired: 1, slowMs: 20 });
  const done = await connecting();
  expect(done).toMatchObject({ code: 0, err: "" });
  expect((await calls()).filter((name) => name === "Login").length).toBeGreaterThan(1);
});

test("a wrong password, certificate or provider is one clear line, and changes nothing", async () => {
  writeFileSync(vcenter.file("wrong"), "another password\n");
  const wrong = await vcenterCommand(["status", "--password-file", vcenter.file("wrong")]);
  expect(wrong).toMatchObject({ code: 4, out: "" });
  expect(wrong.err).toBe(
    `holdfast: vCenter does not let ${vcenterUser} in: check the user name (such as administrator@vsphere.local) and the password\n`,
  );
  const unknown = await vcenterCommand(["status"], []);
  expect(unknown.code).toBe(2);
  expect(unknown.err).toContain("its certificate is not trusted");
  const print = execFileSync("openssl", ["x509", "-noout", "-fingerprint", "-sha256"], {
    input: vcenter.certificate,
    encoding: "utf8",
  }).trim();
  const pinned = ["--vcenter-fingerprint", print.replace(/^.*=/, "")];
  expect(await vcenterCommand(["status"], pinned)).toMatchObject({
    code: 0,
    out: "no key providers\n",
  });
  const other = await vcenterCommand(["status"], ["--vcenter-fingerprint", "ab".repeat(32)]);
  expect(other.code).toBe(2);
  expect(other.err).toContain("and not that of --vcenter-fingerprint");
  const servers = [{ name: "ibm", address: "kms.example", port: 5696 }];
  await tell("/use", { provider: { id: "kmip-aa", managementType: "vCenter", servers } });
  const foreign = await connecting();
  expect(foreign.code).toBe(2);
  expect(foreign.err).toContain("ibm at kms.example:5696");
  await tell("/use", {
    provider: { id: "kmip-aa", managementType: "nativeProvider", servers: [] },
  });
  expect((await connecting()).err).toContain("a provider of another kind (nativeProvider)");
  expect(await calls()).not.toContain("RegisterKmipServer");
  const silent = await vcenter.command(["status", "https://localhost:1"]);
  expect(silent).toMatchObject({ code: 3, err: expect.stringContaining("does not answer") });
});

test("disconnect refuses while anything uses it or it is the default, asks again, and then removes every server", async () => {
  expect(await connecting("--default")).toMatchObject({ code: 0 });
  const remove = (...more: readonly string[]) =>
    settled(() => vcenterCommand(["disconnect", "--provider", "kmip-aa", ...more]));
  expect((await remove("--confirm", "kmip-aa")).err).toContain("is the default provider");
  const servers = [{ name: "x", address: "x", port: 1 }];
  await tell("/use", { provider: { id: "other", managementType: "vCenter", servers } });
  await tell("/use", { isDefault: "other" });
  const unread = await remove("--confirm", "kmip-aa");
  expect(unread).toMatchObject({
    code: 1,
    err: expect.stringContaining("not everything could be read"),
  });
  const plain = [
    {
      ...{ type: "VirtualMachine", id: "vm-1" },
      properties: { name: "plain", config: { template: false, hardware: { device: [] } } },
    },
    {
      type: "HostSystem",
      id: "esx-1",
      properties: { name: "esx", runtime: { connectionState: "connected" } },
    },
  ];
  // vCenter lists only keys of machines and hosts: nothing of this is in its list.
  const dataEncryptionConfig = {
    ...{ encryptionEnabled: true, kmsProviderId: { id: "kmip-aa" }, kekId: "k", hostKeyId: "h" },
  };
  const cluster = {
    ...{ type: "ClusterComputeResource", id: "domain-c1" },
    properties: {
      name: "vsan",
      configurationEx: { vsanConfigInfo: { enabled: true, dataEncryptionConfig } },
    },
  };
  await tell("/inventory", { objects: [...plain, cluster] });
  const used = await remove("--confirm", "kmip-aa");
  expect(used).toMatchObject({
    code: 6,
    err: expect.stringContaining("2 things use it, such as vSAN KEK vsan"),
  });
  await tell("/inventory", { objects: plain });
  expect(await remove()).toMatchObject({
    code: 2,
    err: expect.stringContaining("--confirm kmip-aa"),
  });
  expect(await remove("--dry-run")).toMatchObject({ code: 0 });
  const given = async () => (await certificatesAt("a1")).map(({ name }) => name);
  const access = ["--instance", "kmip-aa", ...managed.site("a1")];
  const [, name = ""] =
    /^delete certificate (\S+) of instance kmip-aa/m.exec(
      (await remove("--dry-run", ...access)).out,
    ) ?? [];
  expect(await given()).toContain(name);
  const removed = await remove("--confirm", "kmip-aa", ...access);
  expect(removed).toMatchObject({ code: 0, err: "" });
  expect(removed.out).toContain(`done: delete certificate ${name} of instance kmip-aa`);
  expect(await given()).not.toContain(name);
  expect((await vcenterCommand(["status"])).out).not.toContain("kmip-aa");
  expect(await remove("--confirm", "kmip-aa")).toMatchObject({
    code: 0,
    out: expect.stringContaining("nothing to do"),
  });
});
