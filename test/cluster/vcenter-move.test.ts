import { spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type StandIn, startVcenter } from "../support/vcenter/index.ts";
import { hasPyvmomi, pyvmomiMissing, unknownNames } from "../support/vcenter/pyvmomi.ts";
import { key, machine, provider, reset, world } from "../support/vcenter/world.ts";

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
  await reset(vcenter);
});

const use = (objects: readonly object[]) => vcenter.tell("/inventory", { objects });
const verify = () =>
  vcenter.command(["verify", vcenter.url, "--old-provider", "ibm", "--new-provider", "holdfast"]);
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
  await vcenter.tell("/use", provider("yellow"));
  expect((await moving()).err).toContain("`holdfast vcenter connect` renews vCenter's own");
  await vcenter.tell("/use", provider());
  const plan = await moving("--dry-run");
  expect(plan).toMatchObject({ code: 0, err: "" });
  expect(plan.out).toContain("re-key template golden (home, 0 disks)");
  expect(await count("new-")).toBe(0);
  const done = await moving();
  expect(done).toMatchObject({ code: 3, err: expect.stringContaining("2 things were not moved") });
  expect(done.out).toContain(
    "left to you: vSAN of cluster vsan-cluster (nobody has agreed to it: give --vsan vsan-cluster)",
  );
  expect(done.out).toContain(
    "left to you: snapshot with-snapshot/before (keeps keys of ibm: delete it, or keep ibm)",
  );
  expect(await count("key-snapshot")).toBe(1);
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
/** All that can be moved: the snapshot has its key from the new provider. */
const movable = (old: string, more: object = {}) => world(old, more, "holdfast");

test("move switches vSAN after templates, then makes new keys, and continues after a failure between the two", async () => {
  rmSync(journal(), { force: true });
  await use(movable("ibm"));
  const plan = await moving("--dry-run");
  expect(plan.out).toContain(
    "re-key vSAN of cluster vsan-cluster: switch it to holdfast, then a new KEK and host key",
  );
  expect(await moving("--vsan", "nobody")).toMatchObject({
    code: 2,
    err: expect.stringContaining("--vsan nobody: this vCenter has no cluster of this name"),
  });
  expect(await count('"ibm"')).toBe(JSON.stringify(movable("ibm")).split('"ibm"').length - 1);
  const before = ((await vcenter.tell("/calls")) as readonly string[]).length;
  await vcenter.tell("/faults", { failing: "VsanEncryptedClusterRekey_Task" });
  const cut = await moving(...vsan);
  expect(cut.code).toBe(3);
  expect(cut.out).toContain("failed: vSAN of cluster vsan-cluster");
  // vCenter shows the new provider, and the keys are still those of the old one.
  await vcenter.tell("/use", { missing: ["key-kek", "key-hosts"] });
  expect(await count("key-kek")).toBe(1);
  const unproven = await verify();
  expect(unproven.code).toBe(1);
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
  expect(await verify()).toMatchObject({ code: 0, err: "" });
  expect(await moving()).toMatchObject({ code: 0, out: expect.stringContaining("0 things were") });
});

test("a vSAN host key that vCenter does not show after the re-key is not taken for a new one", async () => {
  rmSync(journal(), { force: true });
  await use(movable("ibm", { hidesHostKey: true }));
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
  await use(movable("ibm", { keepsHostKey: true }));
  const kept = await moving(...vsan);
  expect(kept.code).toBe(3);
  expect(kept.out).toContain("the host key is still the old one: keep the old provider");
  // It is tried again, although vCenter shows the new provider.
  expect((await moving(...vsan)).code).toBe(3);
  rmSync(journal(), { force: true });
  await use(movable("ibm"));
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
  await use(movable("ibm"));
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
  await use([...movable("ibm"), ...unread]);
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

/** A machine of the old provider, in a state. */
const old = (name: string, config: object = {}, more: object = {}) =>
  machine(
    `vm-${name}`,
    name,
    { template: false, keyId: key(`key-${name}`, "ibm"), hardware: { device: [] }, ...config },
    more,
  );
const oldHost = {
  ...{ type: "HostSystem", id: "esx-7" },
  properties: {
    name: "esx-7",
    runtime: { connectionState: "connected", cryptoKeyId: key("key-esx-7", "ibm") },
  },
};

test("running machines with changed block tracking, and locked ones, are left alone, and do not keep the others from being moved", async () => {
  rmSync(journal(), { force: true });
  const tracked = { changeTrackingEnabled: true };
  const running = [1, 2, 3, 4, 5, 6].map((number) =>
    old(`on-${number}`, tracked, { runtime: { powerState: "poweredOn" } }),
  );
  await use([
    ...running,
    old("sealed", {}, { runtime: { cryptoState: "locked" } }),
    old("off", tracked, { runtime: { powerState: "poweredOff" } }),
    oldHost,
  ]);
  const plan = await moving("--dry-run");
  expect(plan.out).toContain("re-key machine off");
  expect(plan.out).not.toContain("re-key machine on-");
  const first = await moving("--at-once", "1");
  expect(first).toMatchObject({ code: 3, err: expect.stringContaining("7 things were not moved") });
  expect(first.out).not.toContain("failed");
  for (const number of [1, 6]) {
    expect(first.out).toContain(
      `left to you: machine on-${number} (home, 0 disks) (it runs with changed block tracking`,
    );
  }
  expect(first.out).toContain("left to you: machine sealed (home, 0 disks) (locked: ");
  expect(await count("key-off")).toBe(0);
  expect(await count("key-esx-7")).toBe(0);
  await use([...running, oldHost]);
  expect(await moving("--tracked-too")).toMatchObject({ code: 0, err: "" });
  expect(await count("key-on-")).toBe(0);
});

test("five failures in a row stop the move before other things meet the same cause", async () => {
  rmSync(journal(), { force: true });
  const refusing = [1, 2, 3, 4, 5, 6].map((number) =>
    old(`no-${number}`, {}, { refuses: "The host has no memory." }),
  );
  await use([...refusing, oldHost]);
  const stopped = await moving("--at-once", "1");
  expect(stopped).toMatchObject({ code: 3, err: expect.stringContaining("5 things were not") });
  expect(stopped.out).toContain("stopped after 5 failures in a row: 1 more of this kind were not");
  expect(await count("key-esx-7")).toBe(1);
});

test("two runs with one journal do not disturb each other, and a run that was killed keeps nobody away", async () => {
  rmSync(journal(), { force: true });
  const lock = `${journal()}.lock`;
  await use([oldHost, old("idle")]);
  writeFileSync(lock, `${process.pid}\n`);
  const refused = await moving();
  expect(refused).toMatchObject({ code: 6, out: "" });
  expect(refused.err).toMatch(
    /^holdfast: --journal \S+: another run of `vcenter move` uses it.*\n$/,
  );
  expect(await count("key-esx-7")).toBe(1);
  const killed = spawnSync(process.execPath, ["--version"]).pid;
  writeFileSync(lock, `${killed}\n`);
  expect(await moving()).toMatchObject({ code: 0, err: "" });
  expect(existsSync(lock)).toBe(false);
});

test("a cluster that shows nothing of vSAN is asked, and is left if nobody knows", async () => {
  rmSync(journal(), { force: true });
  const dataEncryptionConfig = {
    ...{ encryptionEnabled: true, kmsProviderId: { id: "ibm" }, kekId: "k", hostKeyId: "h" },
  };
  const cluster = {
    ...{ type: "ClusterComputeResource", id: "domain-c1" },
    properties: {
      ...{ name: "vsan-cluster", configurationEx: {} },
      vsan: { enabled: true, dataEncryptionConfig },
    },
  };
  const things = [...movable("ibm").filter(({ id }) => id !== "domain-c1"), cluster];
  await use(things);
  await vcenter.tell("/faults", { vsanJson: false });
  const left = await moving("--dry-run");
  expect(left.out).toContain("left to you: vSAN of cluster vsan-cluster (nobody knows whether");
  const unread = await verify();
  expect(unread).toMatchObject({ code: 1, err: expect.stringContaining("nobody knows whether") });
  await vcenter.tell("/faults", { vsanJson: true });
  expect((await moving("--dry-run")).out).toContain("re-key vSAN of cluster vsan-cluster");
  expect(await verify()).toMatchObject({ code: 6, out: expect.stringContaining("vSAN KEK") });
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
  await use([...movable("ibm"), refusing]);
  const first = await moving("--at-once", "1", ...vsan);
  expect(first.code).toBe(3);
  expect(first.out).toContain(
    "failed: machine busy (home, 0 disks): vCenter: ReconfigVM_Task failed: Another task is in progress.",
  );
  expect(first.err).toContain("1 things were not moved");
  expect(await count("key-template")).toBe(0);
  // As if a run had been killed in the middle of a template.
  await use([
    ...movable("ibm").filter((one) => (one as { readonly id: string }).id !== "vm-3"),
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
