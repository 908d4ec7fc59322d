import type { StandIn } from "./index.ts";

/** A `CryptoKeyId`. */
export const key = (keyId: string, provider: string) => ({
  ...{ _typeName: "CryptoKeyId", keyId, providerId: { _typeName: "KeyProviderId", id: provider } },
});
/** A reference to a managed object. */
const reference = (type: string, value: string) => ({
  ...{ _typeName: "ManagedObjectReference", type, value },
});
/** A virtual disk, with a key and a parent if given. */
const disk = (fileName: string, keyId?: object, parent?: object) => ({
  _typeName: "VirtualDisk",
  backing: {
    _typeName: "VirtualDiskFlatVer2BackingInfo",
    fileName,
    ...(keyId && { keyId }),
    ...(parent && { parent }),
  },
});
/** A machine with a configuration. */
export const machine = (id: string, name: string, config: object, more: object = {}) => ({
  ...{ type: "VirtualMachine", id, properties: { name, config, ...more } },
});
/** A host with a key of the new provider. */
export const host = (id: string, connectionState = "connected") => ({
  type: "HostSystem",
  id,
  properties: {
    name: id,
    runtime: { connectionState, cryptoKeyId: key(`key-${id}`, "holdfast") },
    parent: reference("ClusterComputeResource", "domain-c1"),
  },
});

/**
 * One of each kind of thing that can use a key; the old provider is in the places that people forget. Of `kept` is the key of
 * the snapshot, which no re-key reaches.
 */
export const world = (old: string, vsan: object = {}, kept = old) => [
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
    properties: { config: { keyId: key("key-snapshot", kept), hardware: { device: [] } } },
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

/** The new provider with a status. */
export const provider = (assumed = "green") => ({
  provider: { id: "holdfast", managementType: "vCenter", servers: [], assumed },
});

/** Faults that a test may have left are gone, and there are two providers. */
export async function reset(vcenter: StandIn): Promise<void> {
  await vcenter.tell("/faults", {
    ...{ busy: 0, expired: 0, expiresAt: "", slowMs: 0, failing: "", fault: "RuntimeFault" },
    ...{ page: "", instead: {}, vsanJson: true },
  });
  await vcenter.tell("/use", { missing: [], keyStatus: null, keys: [], defaults: {} });
  await vcenter.tell("/use", { provider: { id: "ibm", managementType: "vCenter", servers: [] } });
  await vcenter.tell("/use", provider());
}
