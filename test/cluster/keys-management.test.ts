import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AdminClient } from "@holdfast/admin";
import { KmipClient } from "@holdfast/client";
import {
  decodeRecord,
  isWithheldKek,
  type ManagedObject,
  partitionOf,
  vendorItem,
  vendorKey,
  vendorTags,
} from "@holdfast/engine";
import { until } from "@holdfast/testing";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { textString } from "@holdfast/ttlv";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adminClient, firstToken, patiently } from "../support/admin-api.ts";
import { holdfast } from "../support/command-line.ts";
import { answered, createKey } from "../support/keys.ts";
import { keyBytes, stateOf } from "../support/migrating.ts";
import { storageKeysIn } from "../support/node-root.ts";
import { recordOf } from "../support/redis-store.ts";
import { layRegion, type Region } from "../support/region.ts";
import { recordIn } from "../support/stored-value.ts";

let folder: string;
let region: Region;
let admin: Pick<AdminClient, "call">;
const opened: AsyncDisposable[] = [];
const rootOfTrust = { regions: { a: { type: "local" as const } } };
const problem = (code: string) => expect.objectContaining({ name: "AdminProblem", code });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-keys-"));
  region = await layRegion({
    instances: ["declared"],
    nodes: 1,
    replicas: 0,
    admin: true,
    settings: { backup: { keyFile: join(folder, "key.json") } },
  });
  expect((await holdfast("backup", "key", "init", "--config", config())).code).toBe(0);
  await Promise.all(region.nodes.map((node) => node.start()));
  const target = { node: region.node(0), ca: region.ca };
  const client = adminClient(target, await firstToken(target));
  opened.push(client);
  admin = patiently(client);
});

afterAll(async () => {
  await Promise.all(opened.map((one) => one[Symbol.asyncDispose]()));
  await region?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function config(): string {
  return region.node(0).configFile;
}

async function order(name: string): Promise<string> {
  const { id } = await admin.call("createInstance", { body: { name, rootOfTrust } });
  const params = { instance: id };
  await until(`${name} is Installed`, async () => {
    return (await admin.call("readInstance", { params })).status === "Installed";
  });
  return id;
}

/** A client of the instance; waits until the node accepts it. */
async function clientFor(instance: string, { certificate, key }: Issued): Promise<KmipClient> {
  const body = { name: "vcenter", pem: certificate };
  await admin.call("addCertificate", { params: { instance }, body });
  const { host, kmip } = region.node(0);
  let client: KmipClient | undefined;
  await until("the client is let in", async () => {
    const tls = { ca: region.ca, certificate, key };
    const endpoints = [`${host}:${kmip}`];
    client = await KmipClient.connect({ endpoints, tls }).catch(() => undefined);
    return client !== undefined;
  });
  if (client === undefined) throw new Error("no client");
  opened.push(client);
  return client;
}

/** A key as the store has it. */
async function storedOf(instance: string, id: string): Promise<ManagedObject> {
  const { key, value } = await recordOf(region.redis.primary, instance, id);
  return decodeRecord(recordIn(await storageKeysIn(region), key, value));
}

async function shown(commonName: string): Promise<Issued> {
  return await selfSigned({ commonName, notBeforeMs: Date.now() - 60_000, days: 2 });
}

test("keys are searched, shown, changed and counted; those of a deleted instance come back only in a new one", async () => {
  const instance = await order("kmip-1");
  const client = await clientFor(instance, await shown("vcenter"));
  const [one = "", two = "", three = ""] = [
    await answered(() => createKey(client)),
    await answered(() => createKey(client)),
    await answered(() => createKey(client)),
  ];
  const value = textString(vendorTags.AttributeValue, "vm-1");
  const newAttribute = { item: vendorItem({ key: vendorKey("x", "Identifier"), value }) };
  await answered(() => client.addAttribute({ uniqueIdentifier: one, newAttribute }));
  await answered(() => client.activate({ uniqueIdentifier: one }));
  const bytes = await keyBytes(client, one);

  // Searched and shown.
  const params = { instance: "kmip-1" };
  const found = async (query: object) => {
    const { items } = await admin.call("listKeys", { params, query: { limit: 10, ...query } });
    return items.map(({ id }) => id);
  };
  expect(await found({})).toEqual([three, two, one]);
  expect(await found({ xIdentifier: "vm-1" })).toEqual([one]);
  expect(await found({ state: "PreActive" })).toEqual([three, two]);
  const details = await admin.call("readKey", { params: { ...params, key: one }, query: {} });
  expect(details.createdBy).toMatch(/^[0-9a-f]{64}$/);
  expect(await found({ createdBy: details.createdBy })).toEqual([three, two, one]);
  expect(await found({ createdBy: "0".repeat(64) })).toEqual([]);
  const happened = details.history.map(({ what, by }) => [what, by]);
  expect(happened).toContainEqual(["created", details.createdBy]);
  expect(happened).toContainEqual(["activated", details.createdBy]);
  expect(JSON.stringify(details)).not.toContain(bytes);
  const first = await admin.call("listKeys", { params, query: { limit: 2 } });
  const { next: cursor = "" } = first;
  const second = await admin.call("listKeys", { params, query: { limit: 2, cursor } });
  expect([...first.items, ...second.items].map(({ id }) => id)).toEqual([three, two, one]);

  // Changed, with the rules of the engine.
  const backup = join(folder, "old.backup");
  expect((await holdfast("backup", "create", backup, "--config", config())).code).toBe(0);
  const key = { ...params, key: one };
  await expect(admin.call("destroyKey", { params: key, query: {} })).rejects.toEqual(
    problem("keyActive"),
  );
  await expect(admin.call("destroyKey", { params: key, query: { force: "true" } })).rejects.toEqual(
    problem("confirmationNeeded"),
  );
  const gone = { ...params, key: two };
  expect((await admin.call("destroyKey", { params: gone, query: {} })).state).toBe("Destroyed");
  expect(await stateOf(client, two)).toBe("Destroyed");
  await expect(keyBytes(client, two)).rejects.toThrow("destroyed");
  expect(await found({ restorable: true })).toEqual([two]);
  const isWithheld = async () =>
    isWithheldKek((await storedOf(instance, two)).material?.kekId ?? "");
  await until("its material is withheld", isWithheld);
  const back = await admin.call("restoreKey", { params: gone });
  expect(back.state).toBe("PreActive");
  // At once: the restore itself has sealed it for clients.
  expect(await keyBytes(client, two)).toMatch(/^[0-9a-f]+$/);
  expect(await isWithheld()).toBe(false);
  expect((await admin.call("destroyKey", { params: gone, query: {} })).state).toBe("Destroyed");
  await until("its material is withheld again", isWithheld);
  const counted = await admin.call("countKeys", { params });
  expect(counted).toMatchObject({ total: 3, states: { Active: 1, PreActive: 1, Destroyed: 1 } });
  const orphans = await admin.call("reportOrphans", {
    params,
    query: { limit: 10 },
    body: { inUse: ["vm-1"] },
  });
  expect(orphans.items.map(({ id }) => id)).toEqual([three]);

  // The instance is deleted, and its backup is restored: it stays deleted.
  await expect(admin.call("deleteInstance", { params: { instance }, query: {} })).rejects.toEqual(
    problem("keysRemain"),
  );
  // A backup opens what is withheld too.
  const later = join(folder, "later.backup");
  expect((await holdfast("backup", "create", later, "--config", config())).code).toBe(0);
  const drill = await holdfast("backup", "verify", later, "--config", config(), "--keys", "10");
  expect(drill).toMatchObject({ code: 0, out: expect.stringContaining("3 keys at random opened") });
  await admin.call("deleteInstance", {
    params: { instance },
    query: { force: "true", name: "kmip-1" },
  });
  const restore = (...more: string[]) =>
    holdfast("backup", "restore", backup, "--config", config(), ...more);
  const plain = await restore("--apply");
  expect(plain.out).toMatch(
    /3 records belong to an instance that was deleted, and are not restored/,
  );

  // With the explicit override it is restored, but only into a new instance.
  let fresh = await order("kmip-2");
  for (let tries = 3; partitionOf(fresh) === partitionOf(instance); tries++) {
    fresh = await order(`kmip-${tries}`);
  }
  const override = ["--into-new-instance", fresh, "--deleted-instance", instance];
  const told = await restore(...override);
  expect(told).toMatchObject({ code: 0, err: "" });
  expect(told.out).toMatch(/2 objects would be restored into instance kmip-\d/);
  const done = await restore(...override, "--apply");
  expect(done).toMatchObject({ code: 0, err: "" });
  expect(done.out).toMatch(/2 objects were restored .*\n1 were destroyed before the instance was/);
  const again = await clientFor(fresh, await shown("vcenter again"));
  expect(await keyBytes(again, one)).toBe(bytes);
  expect(await stateOf(again, one)).toBe("Active");
  expect(await stateOf(again, two)).toBe("Destroyed");
  await admin.call("restoreKey", { params: { instance: fresh, key: two } });
  expect(await stateOf(again, two)).toBe("PreActive");
  const { items } = await admin.call("listEvents", {
    query: { limit: 50, action: "vmware-solutions.kmip-backup.restore", target: fresh },
  });
  // One run with --apply: its outcome comes after the last object.
  expect(items.map(({ outcome }) => outcome).toSorted()).toEqual(["pending", "success"]);
});
