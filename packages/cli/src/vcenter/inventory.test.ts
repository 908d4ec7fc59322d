import { expect, test } from "vitest";
import { inventoryOf } from "./inventory.ts";
import { type TestObjects, testVcenter } from "./testing/test-vcenter.ts";

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
  const unread = async (more: TestObjects) =>
    (await inventoryOf(testVcenter({ ...world, ...more }))).unread;
  const hidden = expect.stringMatching(/^vc\.example: there are vSAN datastores, and no vSAN/);
  expect(await unread({ Datastore })).toEqual([hidden]);
  expect(await unread({ Datastore, ClusterComputeResource: [cluster(false)] })).toEqual([hidden]);
  expect(await unread({ Datastore, ClusterComputeResource: [cluster(true)] })).toEqual([]);
  expect(await unread({})).toEqual([]);
});
