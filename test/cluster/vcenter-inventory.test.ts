import { readFileSync, rmSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type StandIn, startVcenter } from "../support/vcenter/index.ts";

const key = (keyId: string, provider: string) => ({
  ...{ _typeName: "CryptoKeyId", keyId, providerId: { _typeName: "KeyProviderId", id: provider } },
});
const disk = (fileName: string, keyId?: object, parent?: object) => ({
  _typeName: "VirtualDisk",
  backing: { _typeName: "VirtualDiskFlatVer2BackingInfo", fileName, ...(keyId && { keyId }), ...(parent && { parent }) },
});
const machine = (id: string, name: string, config: object, more: object = {}) => ({
  ...{ type: "VirtualMachine", id, properties: { name, config, ...more } },
});
const host = (id: string, connectionState = "connected") => ({
  type: "HostSystem",
  id,
  properties: { name: id, runtime: { connectionState, cryptoKeyId: key(`key-${id}`, "holdfast") } },
});

/** One of each kind of thing that can use a key; the old provider is in the places that people forget. */
const world = (old: string) => [
  machine("vm-1", "plain", { template: false, hardware: { device: [disk("plain.vmdk")] } }),
  machine("vm-2", "web \u001b[31m", {
    ...{ template: false, keyId: key("key-home", "holdfast") },
    hardware: {
      device: [
        { _typeName: "VirtualTPM" },
        disk("web.vmdk", key("key-disk", "holdfast"), { fileName: "web-base.vmdk", keyId: key("key-parent", old) }),
      ],
    },
  }),
  machine("vm-3", "golden", { template: true, keyId: key("key-template", old), hardware: { device: [] } }),
  machine("vm-4", "with-snapshot", { template: false, hardware: { device: [] } }, {
    snapshot: {
      rootSnapshotList: [
        {
          ...{ name: "before", snapshot: { type: "VirtualMachineSnapshot", value: "snapshot-1" } },
          childSnapshotList: null,
        },
      ],
    },
  }),
  {
    ...{ type: "VirtualMachineSnapshot", id: "snapshot-1" },
    properties: { config: { keyId: key("key-snapshot", old), hardware: { device: [] } } },
  },
  host("esx-1"),
  {
    ...{ type: "ClusterComputeResource", id: "domain-c1" },
    properties: {
      name: "vsan-cluster",
      configurationEx: {
        vsanConfigInfo: {
          enabled: true,
          dataEncryptionConfig: {
            ...{ encryptionEnabled: true, kmsProviderId: { id: old } },
            ...{ kekId: "key-kek", hostKeyId: "key-hosts" },
          },
        },
      },
    },
  },
  {
    ...{ type: "Datastore", id: "datastore-1" },
    properties: {
      ...{ name: "vsan", summary: { accessible: true } },
      firstClassDisks: {
        fcd: { config: { name: "pvc-1", backing: { keyId: key("key-fcd", old) } } },
      },
    },
  },
];

let vcenter: StandIn;

beforeAll(async () => {
  vcenter = await startVcenter();
});
afterAll(async () => {
  await vcenter?.[Symbol.asyncDispose]();
});
beforeEach(() => vcenter.tell("/faults", { busy: 0, expired: 0, slowMs: 0, failing: "" }));
afterEach(() => rmSync(vcenter.file("keys.txt"), { force: true }));

const use = (objects: readonly object[]) => vcenter.tell("/inventory", { objects });
const verify = () =>
  vcenter.command(["verify", vcenter.url, "--old-provider", "ibm", "--new-provider", "holdfast"]);
const audit = (...more: readonly string[]) => vcenter.command(["audit", vcenter.url, ...more]);

test("audit finds every key, also of parents, templates, snapshots, vSAN and first-class disks, and writes the list", async () => {
  await use(world("ibm"));
  const found = await audit("--keys-out", vcenter.file("keys.txt"));
  expect(found).toMatchObject({ code: 0, err: "" });
  const keys = readFileSync(vcenter.file("keys.txt"), "utf8").trim().split("\n").toSorted();
  expect(keys).toEqual(
    [
      ...["key-disk", "key-esx-1", "key-fcd", "key-home", "key-hosts", "key-kek"],
      ...["key-parent", "key-snapshot", "key-template"],
    ].toSorted(),
  );
  expect(found.out).not.toContain("\u001b");
  expect(found.out).toContain("3 machines");
  const again = await audit("--keys-out", vcenter.file("keys.txt"));
  expect(again).toMatchObject({ code: 2, err: expect.stringContaining("exists already") });
});

test("verify fails while anything uses the old provider, and passes when nothing does", async () => {
  await use(world("ibm"));
  const left = await verify();
  expect(left.code).toBe(6);
  for (const kind of ["disk of machine", "template", "snapshot", "vSAN KEK", "vSAN host key", "first-class disk"]) {
    expect(left.out).toContain(kind);
  }
  expect(left.err).toContain("6 things still use ibm");
  await use(world("holdfast"));
  const done = await verify();
  expect(done).toMatchObject({ code: 0, err: "" });
  expect(done.out).toContain("nothing uses ibm, and 9 things use holdfast");
});

test("what cannot be read, or an empty inventory, proves nothing, and no list is written", async () => {
  const unreadable = { ...machine("vm-9", "secret", {}), forbidden: ["config.keyId", "config.hardware"] };
  const cases: readonly (readonly [readonly object[], string])[] = [
    [[...world("holdfast"), unreadable], "no permission to read config.keyId"],
    [[...world("holdfast"), machine("vm-8", "orphaned", {})], "machine orphaned: has no configuration"],
    [[...world("holdfast"), host("esx-9", "notResponding")], "host esx-9: notResponding"],
    [
      [
        ...world("holdfast"),
        { type: "Datastore", id: "datastore-9", properties: { name: "nfs", summary: { accessible: false } } },
      ],
      "datastore nfs: is not accessible",
    ],
    [[], "no host or no machine was seen"],
  ];
  for (const [objects, says] of cases) {
    await use(objects);
    const refused = await verify();
    expect(refused.code, says).toBe(2);
    expect(refused.err).toContain(says);
    const listed = await audit("--keys-out", vcenter.file("keys.txt"));
    expect(listed.code, says).not.toBe(0);
    expect(() => readFileSync(vcenter.file("keys.txt"))).toThrow("ENOENT");
  }
  await use(world("holdfast"));
  await vcenter.tell("/faults", { failing: "ListVStorageObject" });
  const failed = await verify();
  expect(failed.code).not.toBe(0);
  expect(failed.err).toContain("first-class disks of datastore vsan");
});
