import { X509Certificate } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type StandIn, startVcenter } from "../support/vcenter/index.ts";
import { hasPyvmomi, pyvmomiMissing, unknownNames } from "../support/vcenter/pyvmomi.ts";
import { host, key, machine, reset, world } from "../support/vcenter/world.ts";

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
afterEach(() => rmSync(vcenter.file("keys.txt"), { force: true }));

const sealed = { cryptoState: "locked" };
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
    [
      [
        ...world("holdfast").filter(({ id }) => id !== "domain-c1"),
        {
          type: "Datastore",
          id: "datastore-9",
          properties: { name: "far", summary: { accessible: true, type: "vsan" } },
        },
      ],
      "there are vSAN datastores, and no vSAN cluster was seen",
    ],
    [
      [
        ...world("holdfast"),
        machine("vm-7", "sealed", { hardware: { device: [] } }, { runtime: sealed }),
      ],
      "machine sealed: is locked, and shows no key",
    ],
  ];
  for (const [objects, says] of cases) {
    await use(objects);
    const refused = await verify();
    expect(refused.code, says).toBe(1);
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
  // The next page is in the session that has expired.
  await vcenter.tell("/faults", { expiresAt: "ContinueRetrievePropertiesEx" });
  const expired = await verify();
  expect(expired).toMatchObject({ code: 1, err: expect.stringContaining("InvalidArgument") });
  for (const cut of ["", null, {}]) {
    await vcenter.tell("/faults", { instead: { ContinueRetrievePropertiesEx: cut } });
    const { code, err } = await verify();
    expect(code, JSON.stringify(cut)).toBe(1);
    expect(err).toContain("vCenter did not send all of its list of ");
  }
  const unnamed = machine("vm-6", "unnamed", {
    ...{ template: false, keyId: { keyId: "k" }, hardware: { device: [] } },
  });
  await use([...world("holdfast"), unnamed]);
  expect((await verify()).err).toContain("machine unnamed: key k names no provider");
  const wrong = ["--old-provider", "IBM", "--new-provider", "holdfast"];
  expect(await vcenter.command(["verify", vcenter.url, ...wrong])).toMatchObject({
    code: 2,
    err: "holdfast: localhost: has no key provider IBM; it has ibm, holdfast, and in use there: holdfast; nothing is proven\n",
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
      expect(code, JSON.stringify(keyStatus)).toBe(1);
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

test("a default of a cluster or a folder, and a key that vCenter only lists, keep the old provider from being removed", async () => {
  const folder = {
    ...{ type: "Folder", id: "group-h1" },
    properties: { name: "hosts", childType: ["Folder", "ComputeResource"] },
  };
  await use([...world("holdfast"), folder]);
  for (const [id, kind] of [
    ["domain-c1", "default of cluster"],
    ["group-h1", "default of folder"],
  ] as const) {
    await vcenter.tell("/use", { defaults: { [id]: "ibm" } });
    const left = await verify();
    expect(left).toMatchObject({
      code: 6,
      err: expect.stringContaining("1 things still use ibm"),
      out: expect.stringContaining(kind),
    });
  }
  await vcenter.tell("/use", { defaults: {}, keys: [key("key-home", "holdfast")] });
  expect((await verify()).out).toContain("nothing uses ibm, and 9 things use holdfast");
  await vcenter.tell("/use", { keys: [key("key-unseen", "ibm")] });
  expect(await verify()).toMatchObject({
    code: 6,
    err: expect.stringContaining("1 keys of ibm are only in vCenter's own list"),
    out: expect.stringContaining("key-unseen"),
  });
});

test("audit shows which machines are locked, and leaves identifiers out of the list that no key here can have", async () => {
  const hardware = { device: [] };
  const odd = ["k".repeat(65), "two words", "a,b"].map((id) =>
    machine(`vm-${id}`, "odd", { template: false, keyId: key(id, "other"), hardware }),
  );
  const locked = machine(
    "vm-5",
    "sealed",
    { template: false, keyId: key("key-sealed", "holdfast"), hardware },
    { runtime: sealed },
  );
  await use([...world("holdfast"), ...odd, locked]);
  const file = vcenter.file("keys.txt");
  const found = await audit("--keys-out", file);
  expect(found).toMatchObject({ code: 0, err: "" });
  expect(found.out).toMatch(/^machine +sealed +holdfast +key-sealed +locked +localhost$/m);
  expect(found.out).toContain("3 identifiers were left out");
  const keys = readFileSync(file, "utf8").trim().split("\n");
  expect(keys).toContain("key-sealed");
  expect(keys).toHaveLength(10);
  const { uses } = JSON.parse((await audit("--json")).out) as {
    readonly uses: readonly { readonly name: string; readonly state: string }[];
  };
  expect(uses.find(({ name }) => name === "sealed")?.state).toBe("locked");
});

test("each vCenter is pinned by its own certificate, and must know both providers by these names", async () => {
  await using second = await startVcenter();
  await reset(second);
  await use(world("holdfast"));
  await second.tell("/inventory", { objects: world("holdfast") });
  const pinOf = ({ certificate }: StandIn) => [
    "--vcenter-fingerprint",
    new X509Certificate(certificate).fingerprint256,
  ];
  const both = [...pinOf(vcenter), ...pinOf(second)];
  const names = ["--old-provider", "ibm", "--new-provider", "holdfast"];
  const asked = ["verify", vcenter.url, second.url, ...names];
  const done = await vcenter.command(asked, both);
  expect(done).toMatchObject({ code: 0, err: "" });
  expect(done.out).toContain("18 things use holdfast");
  const fewer = await vcenter.command(asked, pinOf(vcenter));
  expect(fewer.code).toBe(2);
  expect(fewer.err).toContain("addresses: 2, fingerprints: 1");
  const swapped = await vcenter.command(asked, [...pinOf(second), ...pinOf(vcenter)]);
  expect(swapped.code).toBe(2);
  expect(swapped.err).toContain("and not that of --vcenter-fingerprint");
  // The other spelling is that of the second vCenter only.
  await use(world("holdfast"));
  await second.tell("/inventory", { objects: world("IBM") });
  await second.tell("/forget", {});
  for (const id of ["IBM", "holdfast"]) {
    await second.tell("/use", { provider: { id, managementType: "vCenter", servers: [] } });
  }
  const spelled = await vcenter.command(asked, both);
  expect(spelled).toMatchObject({ code: 2, out: "" });
  expect(spelled.err).toBe(
    "holdfast: localhost: has no key provider ibm; it has IBM, holdfast, and in use there: holdfast, IBM; nothing is proven\n",
  );
});

test("a user without a privilege ends a command as one who may not", async () => {
  await vcenter.tell("/faults", { failing: "ListKmsClusters", fault: "NoPermission" });
  const denied = await vcenter.command(["status", vcenter.url]);
  expect(denied).toMatchObject({ code: 4, err: expect.stringContaining("lacks a privilege") });
});
