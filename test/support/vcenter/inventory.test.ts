import { describe, expect, test } from "vitest";
import { Fault } from "./fault.ts";
import { Inventory } from "./inventory.ts";

const key = (keyId: string) => ({ keyId, providerId: { id: "ibm" } });
const recrypt = { _typeName: "CryptoSpecShallowRecrypt", newKeyId: key("new") };
const kept = { _typeName: "CryptoSpecNoOp" };

/** The keys of a first-class disk and of its parent, after it was asked for a re-key. */
function rekeyed(disksCrypto: object): readonly unknown[] {
  const backing = { keyId: key("old"), parent: { keyId: key("old below") } };
  const inventory = new Inventory();
  const firstClassDisks = { fcd: { config: { name: "pvc-1", backing } } };
  inventory.use([{ type: "Datastore", id: "ds-1", properties: { firstClassDisks } }]);
  const asked = { id: { id: "fcd" }, datastore: { type: "Datastore", value: "ds-1" } };
  const call = (method: string, body: object) =>
    inventory.call("VcenterVStorageObjectManager", "manager", method, { ...asked, ...body });
  call("UpdateVStorageObjectCrypto_Task", { disksCrypto });
  const { config } = call("RetrieveVStorageObject", {}) as typeof firstClassDisks.fcd;
  return [config.backing.keyId.keyId, config.backing.parent.keyId.keyId];
}

describe("the stand-in for a vCenter re-keys a first-class disk", () => {
  const _typeName = "DiskCryptoSpec";

  test("and those that it builds on, as the specification says of each", () => {
    const parent = { _typeName, crypto: recrypt };
    expect(rekeyed({ _typeName, crypto: recrypt })).toEqual(["new", "old below"]);
    expect(rekeyed({ _typeName, crypto: recrypt, parent })).toEqual(["new", "new"]);
    expect(rekeyed({ _typeName, crypto: kept, parent })).toEqual(["old", "new"]);
  });

  test.each([
    ["a part of another type", { _typeName: "VirtualDeviceConfigSpecBackingSpec" }],
    ["a part without a type", { _typeName: undefined }],
    ["a part without crypto", { crypto: undefined }],
    ["a part for a parent that there is not", { parent: { _typeName, crypto: kept } }],
  ])("and refuses %s", (_, wrong) => {
    const parent = { _typeName, crypto: recrypt, ...wrong };
    expect(() => rekeyed({ _typeName, crypto: recrypt, parent })).toThrow(Fault);
  });
});
