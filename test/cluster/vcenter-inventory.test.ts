import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type StandIn, startVcenter } from "../support/vcenter/index.ts";
import { hasPyvmomi, pyvmomiMissing, unknownNames } from "../support/vcenter/pyvmomi.ts";

const key = (keyId: string, provider: string) => ({
  ...{ _typeName: "CryptoKeyId", keyId, providerId: { _typeName: "KeyProviderId", id: provider } },
});
const reference = (type: string, value: string) => ({
  ...{ _typeName: "ManagedObjectReference", type, value },
});
const disk = (fileName: string, keyId?: object, parent?: object) => ({
  _typeName: "VirtualDisk",
  backing: {
    _typeName: "VirtualDiskFlatVer2BackingInfo",
    fileName,
    ...(keyId && { keyId }),
    ...(parent && { parent }),
  },
});
const machine = (id: string, name: string, config: object, more: object = {}) => ({
  ...{ type: "VirtualMachine", id, properties: { name, config, ...more } },
});
const host = (id: string, connectionState = "connected") => ({
  type: "HostSystem",
  id,
  properties: {
    name: id,
    runtime: { connectionState, cryptoKeyId: key(`key-${id}`, "holdfast") },
    parent: reference("ClusterComputeResource", "domain-c1"),
  },
});

/** One of each kind of thing that can use a key; the old provider is in the places that people forget. */
const world = (old: string, vsan: object = {}) => [
  machine("vm-1", "plain", { template: false, hardware: { device: [disk("plain.vmdk")] } }),
  machine("vm-2", "web \u001b[31m", {
    ...{ template: false, keyId: key("key-home", "holdfast") },
    hardware: {
      device: [
        { _typeName: "VirtualTPM" },
        disk("web.vmdk", key("key-disk", "holdfast"), {
          fileName: "web-base.vmdk",
          keyId: key("key-parent", old),
        }),
      ],
    },
  }),
  machine(
    "vm-3",
    "golden",
    { template: true, keyId: key("key-template", old), hardware: { device: [] } },
    { runtime: { host: reference("HostSystem", "esx-1") } },
  ),
  machine(
    "vm-4",
    "with-snapshot",
    { template: false, hardware: { device: [] } },
    {
      snapshot: {
        rootSnapshotList: [
          {
            ...{
              name: "before",
              snapshot: { type: "VirtualMachineSnapshot", value: "snapshot-1" },
            },
            childSnapshotList: null,
          },
        ],
      },
    },
  ),
  {
    ...{ type: "VirtualMachineSnapshot", id: "snapshot-1" },
    properties: { config: { keyId: key("key-snapshot", old), hardware: { device: [] } } },
  },
  host("esx-1"),
  {
    ...{ type: "ClusterComputeResource", id: "domain-c1" },
    properties: {
      name: "vsan-cluster",
      resourcePool: reference("ResourcePool", "resgroup-1"),
      configurationEx: {
        vsanConfigInfo: {
          enabled: true,
          ...vsan,
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

const provider = (assumed = "green") => ({
  provider: { id: "holdfast", managementType: "vCenter", servers: [], assumed },
});
let vcenter: StandIn;

beforeAll(async () => {
  vcenter = await startVcenter();
});
afterAll(async () => {
  const exchanges = await vcenter?.tell("/exchanges");
  await vcenter?.[Symbol.asyncDispose]();
  if (hasPyvmomi()) expect(unknownNames(exchanges)).toEqual([]);
});
if (!hasPyvmomi()) test.skip(`the shapes of calls: ${pyvmomiMissing}`, () => undefined);
beforeEach(async () => {
  await vcenter.tell("/faults", {
    busy: 0,
    expired: 0,
    slowMs: 0,
    failing: "",
    page: "",
    vsanJson: true,
  });
  await vcenter.tell("/use", { missing: [], keyStatus: null });
  await vcenter.tell("/use", { provider: { id: "ibm", managementType: "vCenter", servers: [] } });
  await vcenter.tell("/use", provider());
});
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
  for (const kind of [
    "disk of machine",
    "template",
    "snapshot",
    "vSAN KEK",
    "vSAN host key",
    "first-class disk",
  ]) {
    expect(left.out).toContain(kind);
  }
  expect(left.err).toContain("6 things still use ibm");
  await use(world("holdfast"));
  const done = await verify();
  expect(done).toMatchObject({ code: 0, err: "" });
  expect(done.out).toContain("nothing uses ibm, and 9 things use holdfast");
});

test("what cannot be read, or an empty inventory, proves nothing, and no list is written", async () => {
  const unreadable = {
    ...machine("vm-9", "secret", {}),
    forbidden: ["config.keyId", "config.hardware"],
  };
  const cases: readonly (readonly [readonly object[], string])[] = [
    [[...world("holdfast"), unreadable], "no permission to read config.keyId"],
    [
      [...world("holdfast"), machine("vm-8", "orphaned", {})],
      "machine orphaned: has no configuration",
    ],
    [[...world("holdfast"), host("esx-9", "notResponding")], "host esx-9: notResponding"],
    [
      [
        ...world("holdfast"),
        {
          type: "Datastore",
          id: "datastore-9",
          properties: { name: "nfs", summary: { accessible: false } },
        },
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
  await vcenter.tell("/faults", { page: "ContinueRetrievePropertiesEx" });
  expect((await verify()).err).toContain("an answer is not JSON");
  const unnamed = machine("vm-6", "unnamed", {
    ...{ template: false, keyId: { keyId: "k" }, hardware: { device: [] } },
  });
  await use([...world("holdfast"), unnamed]);
  expect((await verify()).err).toContain("machine unnamed: key k names no provider");
  const wrong = ["--old-provider", "IBM", "--new-provider", "holdfast"];
  expect(await vcenter.command(["verify", vcenter.url, ...wrong])).toMatchObject({
    code: 2,
    err: "holdfast: IBM: no vCenter has a key provider of this name; there are ibm, holdfast\n",
  });
});

test("a key of vSAN is proven only if vCenter says that the provider has it, or that it is of a Native Key Provider", async () => {
  await use(world("holdfast"));
  const managed = { keyAvailable: false, reason: "KeyStateManagedByNKP" };
  const answers: readonly (readonly [readonly object[], string])[] = [
    [[], "it does not know"],
    [[{}], "it does not know"],
    [[{ keyAvailable: false }], "it does not know"],
    [[{ keyAvailable: false, reason: "KeyStateClusterUnreachable" }], "KeyStateClusterUnreachable"],
    // What holdfast is not.
    [[managed], "KeyStateManagedByNKP"],
  ];
  for (const [keyStatus, why] of answers) {
    await vcenter.tell("/use", { keyStatus });
    for (const asked of [verify, audit]) {
      const { code, err } = await asked();
      expect(code, JSON.stringify(keyStatus)).toBe(2);
      const says = "vCenter does not say that holdfast has its key";
      expect(err).toContain(`vSAN KEK vsan-cluster: ${says} key-kek (${why}): `);
      expect(err).toContain(`vSAN host key vsan-cluster: ${says} key-hosts (${why}): `);
    }
  }
  await vcenter.tell("/use", { keyStatus: [managed] });
  await vcenter.tell("/use", {
    provider: { id: "holdfast", managementType: "nativeProvider", servers: [], hasBackup: true },
  });
  expect(await verify()).toMatchObject({ code: 0, err: "" });
});

const journal = () => vcenter.file("move.journal");
const moving = (...more: readonly string[]) =>
  vcenter.command([
    ...["move", vcenter.url, "--from", "ibm", "--to", "holdfast", "--journal", journal()],
    ...more,
  ]);
/** How often a text is in what the vCenter has. */
const count = async (text: string) =>
  JSON.stringify(await vcenter.tell("/objects")).split(text).length - 1;

test("move re-keys machines, disks with their parents, templates and first-class disks, and leaves vSAN if nobody has agreed to it", async () => {
  rmSync(journal(), { force: true });
  await use(world("ibm"));
  await vcenter.tell("/use", provider("red"));
  const unready = await moving();
  expect(unready).toMatchObject({
    code: 3,
    out: "",
    err: expect.stringContaining("holdfast is red"),
  });
  await vcenter.tell("/use", provider());
  const plan = await moving("--dry-run");
  expect(plan).toMatchObject({ code: 0, err: "" });
  expect(plan.out).toContain("re-key template golden (home, 0 disks)");
  expect(await count("new-")).toBe(0);
  const done = await moving();
  expect(done).toMatchObject({ code: 3, err: expect.stringContaining("1 things were not moved") });
  expect(done.out).toContain(
    "left to you: vSAN of cluster vsan-cluster (nobody has agreed to it: give --vsan vsan-cluster)",
  );
  expect(await count("key-kek")).toBe(1);
  // The machine whose home is under the new provider already keeps that key.
  expect(await count("key-home")).toBe(1);
  expect(await count("key-parent")).toBe(0);
  expect(await count("key-template")).toBe(0);
  expect(await count("key-fcd")).toBe(0);
  const template = (await vcenter.tell("/objects")) as readonly {
    readonly id: string;
    readonly properties: { readonly config: { readonly template: boolean } };
  }[];
  expect(template.find(({ id }) => id === "vm-3")?.properties.config.template).toBe(true);
  const again = await moving();
  expect(again).toMatchObject({ code: 3, out: expect.stringContaining("0 things were moved") });
  const left = await verify();
  expect(left.code).toBe(6);
  expect(left.out).toContain("vSAN KEK");
  expect(left.out).not.toContain("template");
  const nobody = await moving("--machine", "nobody");
  expect(nobody).toMatchObject({
    code: 2,
    err: expect.stringContaining("no machine of this name"),
  });
});

const vsan = ["--vsan", "vsan-cluster"];

test("move switches vSAN after templates, then makes new keys, and continues after a failure between the two", async () => {
  rmSync(journal(), { force: true });
  await use(world("ibm"));
  const plan = await moving("--dry-run");
  expect(plan.out).toContain(
    "re-key vSAN of cluster vsan-cluster: switch it to holdfast, then a new KEK and host key",
  );
  expect(await moving("--vsan", "nobody")).toMatchObject({
    code: 2,
    err: expect.stringContaining("--vsan nobody: this vCenter has no cluster of this name"),
  });
  expect(await count('"ibm"')).toBe(JSON.stringify(world("ibm")).split('"ibm"').length - 1);
  const before = ((await vcenter.tell("/calls")) as readonly string[]).length;
  await vcenter.tell("/faults", { failing: "VsanEncryptedClusterRekey_Task" });
  const cut = await moving(...vsan);
  expect(cut.code).toBe(3);
  expect(cut.out).toContain("failed: vSAN of cluster vsan-cluster");
  // vCenter shows the new provider, and the keys are still those of the old one.
  await vcenter.tell("/use", { missing: ["key-kek", "key-hosts"] });
  expect(await count("key-kek")).toBe(1);
  const unproven = await verify();
  expect(unproven.code).toBe(2);
  expect(unproven.err).toContain("vSAN KEK vsan-cluster: holdfast does not have its key key-kek");
  // The second run finds the old keys although its journal is lost.
  rmSync(journal());
  expect(await moving(...vsan)).toMatchObject({ code: 0, err: "" });
  expect(await count("key-kek")).toBe(0);
  expect(await count("key-hosts")).toBe(0);
  const calls = ((await vcenter.tell("/calls")) as readonly string[]).slice(before);
  const order = ["MarkAsTemplate", "VsanClusterReconfig", "VsanEncryptedClusterRekey_Task"];
  const places = [...order, "UpdateVStorageObjectCrypto_Task"].map((name) => calls.indexOf(name));
  expect(places).toEqual(places.toSorted((one, other) => one - other));
  expect(places).not.toContain(-1);
  // The second run did not switch it again.
  expect(calls.filter((name) => name === "VsanClusterReconfig")).toHaveLength(1);
  expect(await verify()).toMatchObject({ code: 6, out: expect.not.stringContaining("vSAN") });
  expect(await moving()).toMatchObject({ code: 0, out: expect.stringContaining("0 things were") });
});

test("a vSAN host key that vCenter does not show after the re-key is not taken for a new one", async () => {
  rmSync(journal(), { force: true });
  await use(world("ibm", { hidesHostKey: true }));
  // The second run tries it again, although vCenter shows the new provider.
  for (const run of [1, 2]) {
    const hidden = await moving(...vsan);
    expect(hidden.code, `run ${run}`).toBe(3);
    expect(hidden.out).toContain("failed: vSAN of cluster vsan-cluster");
    expect(hidden.out).toContain("shows no host key, so nobody knows whether it is new");
  }
});

test("a vSAN host key that stays, or a vCenter without JSON for vSAN, is left to a person with the steps in their order", async () => {
  rmSync(journal(), { force: true });
  await use(world("ibm", { keepsHostKey: true }));
  const kept = await moving(...vsan);
  expect(kept.code).toBe(3);
  expect(kept.out).toContain("the host key is still the old one: keep the old provider");
  // It is tried again, although vCenter shows the new provider.
  expect((await moving(...vsan)).code).toBe(3);
  rmSync(journal(), { force: true });
  await use(world("ibm"));
  await vcenter.tell("/faults", { vsanJson: false });
  for (const how of [["--dry-run"], vsan]) {
    const byHand = await moving(...how);
    expect(byHand.code).toBe(how === vsan ? 3 : 0);
    const [first = "", ...more] = byHand.out.slice(byHand.out.indexOf("left to you")).split("\n");
    expect(first).toContain("vSAN of cluster vsan-cluster");
    expect(more.slice(4, 6)).toEqual([
      "     Start-VsanEncryptionConfiguration -Cluster (Get-Cluster -Name 'vsan-cluster') -KeyProvider (Get-KeyProvider -Name 'holdfast')",
      "     Start-VsanEncryptionConfiguration -Cluster (Get-Cluster -Name 'vsan-cluster') -ShallowRekey",
    ]);
  }
  expect(await count("key-kek")).toBe(1);
  const left = await verify();
  expect(left.code).toBe(6);
  expect(left.out).toContain("vSAN host key");
});

test("a Native Key Provider is moved from and to like any other, if it has a backup", async () => {
  rmSync(journal(), { force: true });
  const native = (id: string, hasBackup: boolean) =>
    vcenter.tell("/use", {
      provider: { id, managementType: "nativeProvider", servers: [], assumed: "green", hasBackup },
    });
  await use(world("ibm"));
  for (const id of ["ibm", "holdfast"]) {
    await native(id, false);
    const refused = await moving(...vsan);
    expect(refused).toMatchObject({ code: 6, out: "" });
    expect(refused.err).toContain(`${id} is a Native Key Provider without a backup`);
    await native(id, true);
  }
  expect(await count("new-")).toBe(0);
  expect(await moving(...vsan)).toMatchObject({ code: 0, err: "" });
});

test("move names what it cannot read as left, moves the rest, and does not end as complete", async () => {
  rmSync(journal(), { force: true });
  const hardware = { device: [] };
  const unread = [
    machine("vm-8", "orphaned", {}),
    { ...machine("vm-9", "secret", { hardware }), forbidden: ["config.keyId"] },
    machine("vm-10", "old-template", { template: true }),
    { type: "ClusterComputeResource", id: "domain-c9", properties: { name: "dark" } },
    { type: "HostSystem", id: "esx-9", properties: { name: "esx-9" } },
    {
      ...{ type: "Datastore", id: "datastore-9" },
      properties: { name: "nfs", summary: { accessible: false } },
    },
  ];
  await use([...world("ibm"), ...unread]);
  const done = await moving(...vsan);
  expect(done).toMatchObject({ code: 3, err: expect.stringContaining("6 things were not moved") });
  const why = "has no configuration: orphaned, not accessible, or no permission";
  expect(done.out.match(/^left to you: .*$/gm)?.toSorted()).toEqual([
    `left to you: cluster dark (${why})`,
    "left to you: datastore nfs (not accessible)",
    `left to you: host esx-9 (${why})`,
    `left to you: machine orphaned (${why})`,
    "left to you: machine secret (no permission to read config.keyId)",
    `left to you: template old-template (${why})`,
  ]);
  expect(await count("key-template")).toBe(0);
  // Of the machines that are named, none is such a one.
  expect(await moving("--machine", "plain")).toMatchObject({ code: 0, err: "" });
});

test("a running machine with changed block tracking is left alone, unless a person decides otherwise", async () => {
  rmSync(journal(), { force: true });
  const tracked = (powerState: string) =>
    machine(
      `vm-${powerState}`,
      powerState,
      {
        ...{ template: false, keyId: key(`key-${powerState}`, "ibm"), hardware: { device: [] } },
        changeTrackingEnabled: true,
      },
      { runtime: { powerState } },
    );
  await use([host("esx-1"), tracked("poweredOn"), tracked("poweredOff")]);
  const first = await moving();
  expect(first.code).toBe(3);
  expect(first.out).toContain(
    "failed: machine poweredOn (home, 0 disks): it runs with changed block tracking",
  );
  expect(await count("key-poweredOff")).toBe(0);
  expect(await moving("--tracked-too")).toMatchObject({ code: 0, err: "" });
  expect(await count("key-poweredOn")).toBe(0);
});

test("a machine that refuses is named, the others are moved, and a template that was left as a machine is one again", async () => {
  rmSync(journal(), { force: true });
  await vcenter.tell("/use", provider());
  const refusing = machine(
    "vm-7",
    "busy",
    { template: false, keyId: key("key-busy", "ibm"), hardware: { device: [] } },
    { refuses: "Another task is in progress." },
  );
  await use([...world("ibm"), refusing]);
  const first = await moving("--at-once", "1", ...vsan);
  expect(first.code).toBe(3);
  expect(first.out).toContain(
    "failed: machine busy (home, 0 disks): vCenter: ReconfigVM_Task failed: Another task is in progress.",
  );
  expect(first.err).toContain("1 things were not moved");
  expect(await count("key-template")).toBe(0);
  // As if a run had been killed in the middle of a template.
  await use([
    ...world("ibm").filter((one) => (one as { readonly id: string }).id !== "vm-3"),
    machine("vm-3", "golden", {
      template: false,
      keyId: key("k", "holdfast"),
      hardware: { device: [] },
    }),
  ]);
  const { instanceUuid } = (await vcenter.tell("/about")) as { readonly instanceUuid: string };
  // The second line is of another vCenter.
  writeFileSync(journal(), `open ${instanceUuid} vm-3\nopen another-vcenter vm-2\n`);
  const second = await moving(...vsan);
  expect(second).toMatchObject({
    code: 0,
    out: expect.stringContaining("vm-3 is a template again"),
  });
});
