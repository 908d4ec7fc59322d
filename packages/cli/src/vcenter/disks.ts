import { type Data, dataOf, listOf, referenceOf } from "./property-collector.ts";
import type { MoRef, Vcenter } from "./vi-json.ts";

/** The virtual disks in the hardware of a machine's configuration. */
export function virtualDisksIn(hardware: unknown): readonly Data[] {
  const devices = listOf(dataOf(hardware)["device"]);
  return devices.filter((one) => one["_typeName"] === "VirtualDisk");
}

/** A disk's file and those that it builds on, each with a key of its own. */
export function chainOf(backing: unknown): readonly Data[] {
  const chain: Data[] = [];
  for (let one = backing; one !== undefined && one !== null; one = dataOf(one)["parent"]) {
    chain.push(dataOf(one));
  }
  return chain;
}

/** The specification of a machine's disk, and that of a first-class disk, which says of each key what becomes of it. */
export type DiskSpec = "VirtualDeviceConfigSpecBackingSpec" | "DiskCryptoSpec";

/** The new key for a disk's backing and for those that it builds on, as far as theirs are old. */
export function rekeySpec(
  type: DiskSpec,
  backing: unknown,
  crypto: Data,
  isOld: (key: unknown) => boolean,
): Data {
  const { keyId, parent } = dataOf(backing);
  const hasOldBelow = chainOf(parent).some((one) => isOld(one["keyId"]));
  const kept = type === "DiskCryptoSpec" ? { crypto: { _typeName: "CryptoSpecNoOp" } } : {};
  return {
    _typeName: type,
    ...(isOld(keyId) ? { crypto } : kept),
    ...(hasOldBelow ? { parent: rekeySpec(type, parent, crypto, isOld) } : {}),
  };
}

/** Every snapshot of a machine (its property `snapshot`), each called by the names of both. */
export function snapshotsOf(
  machine: string,
  property: unknown,
): readonly { readonly called: string; readonly snapshot: MoRef }[] {
  const under = (tree: unknown): readonly Data[] =>
    listOf(tree).flatMap((one) => [one, ...under(one["childSnapshotList"])]);
  return under(dataOf(property)["rootSnapshotList"]).map(({ name, snapshot }) => ({
    called: `${machine}/${String(name)}`,
    snapshot: snapshot as MoRef,
  }));
}

/** A first-class disk: how it is asked for, and its configuration. */
interface FirstClassDisk {
  readonly asked: Data;
  readonly config: Data;
}

/** Every first-class disk of a datastore; none where the vCenter has no manager of them. */
export async function* firstClassDisksOf(
  vcenter: Vcenter,
  datastore: MoRef,
): AsyncGenerator<FirstClassDisk> {
  const manager = vcenter.content.vStorageObjectManager;
  if (manager === undefined) return;
  const place = { datastore: referenceOf(datastore) };
  for (const id of listOf(await vcenter.call(manager, "ListVStorageObject", place))) {
    const asked = { id, ...place };
    yield { asked, config: await readDisk(vcenter, manager, asked) };
  }
}

/** The configuration of a first-class disk as it is now. */
export async function readDisk(vcenter: Vcenter, manager: MoRef, asked: Data): Promise<Data> {
  const disk = await vcenter.call(manager, "RetrieveVStorageObject", asked);
  return dataOf(dataOf(disk)["config"]);
}
