import { expect, test } from "vitest";
import { inventoryOf } from "./inventory.ts";

type Objects = Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>>;

/** A vCenter with these objects, by type; it has no default key provider, and no first-class disk. */
function vcenterWith(objects: Objects): never {
  let type = "";
  const call = async (_: unknown, method: string, body: unknown) => {
    if (method === "CreateContainerView") [type = ""] = (body as { type: string[] }).type;
    if (method !== "RetrievePropertiesEx") return { type, value: "view" };
    const found = (objects[type] ?? []).map((values, at) => ({
      obj: { type, value: `${type}-${at}` },
      propSet: Object.entries(values).map(([name, val]) => ({ name, val })),
    }));
    return found.length === 0 ? undefined : { objects: found };
  };
  const reference = { type: "X", value: "x" };
  const content = { viewManager: reference, rootFolder: reference, propertyCollector: reference };
  return { host: "vc.example", content, cryptoManager: reference, call } as never;
}

const world = {
  VirtualMachine: [{ name: "web", "config.hardware": { device: [] } }],
  HostSystem: [{ name: "esx-1", runtime: { connectionState: "connected" } }],
};
const cluster = (enabled: boolean) => ({
  name: "c-1",
  configurationEx: {
    vsanConfigInfo: { enabled, dataEncryptionConfig: { encryptionEnabled: false } },
  },
});

test("each vCenter with a vSAN datastore must show a vSAN cluster", async () => {
  const Datastore = [{ name: "far", summary: { accessible: true, type: "vsan" } }];
  const unread = async (more: Objects) =>
    (await inventoryOf(vcenterWith({ ...world, ...more }))).unread;
  const hidden = expect.stringMatching(/^vc\.example: there are vSAN datastores, and no vSAN/);
  expect(await unread({ Datastore })).toEqual([hidden]);
  expect(await unread({ Datastore, ClusterComputeResource: [cluster(false)] })).toEqual([hidden]);
  expect(await unread({ Datastore, ClusterComputeResource: [cluster(true)] })).toEqual([]);
  expect(await unread({})).toEqual([]);
});
