import { Fault } from "./fault.ts";

type Data = Readonly<Record<string, unknown>>;
type Changed = Record<string, unknown>;

/** A managed object, with its properties as nested objects. */
export interface Managed {
  readonly type: string;
  readonly id: string;
  readonly properties: Data;
  /** Paths that the user may not read. */
  readonly forbidden?: readonly string[];
}

/** A page is small, so that every list has several. */
const pageObjects = 2;

/** The objects of a vCenter, as its PropertyCollector shows them. */
export class Inventory {
  #objects: readonly Managed[] = [];
  readonly #views = new Map<string, string>();
  readonly #pages = new Map<string, readonly Data[]>();
  #count = 0;

  use(objects: readonly Managed[]): void {
    this.#objects = structuredClone(objects);
  }

  get objects(): readonly Managed[] {
    return this.#objects;
  }

  endSession(): void {
    this.#views.clear();
    this.#pages.clear();
  }

  /** A property of an object; `undefined` where it is not set. */
  property(type: string, id: string, path: string): unknown {
    const { properties } = this.#object(type, id);
    // A summary has some fields of the configuration.
    if (path === "summary" && type === "VirtualMachine") return { config: properties["config"] };
    return valueAt(properties, path);
  }

  /** Calls a method of an object; answers `noMethod` for one of another part of a vCenter. */
  call(type: string, id: string, method: string, body: Data): unknown {
    const key = `${type}.${method}`;
    switch (key) {
      case "ViewManager.CreateContainerView": {
        const view = `session[1]${this.#count++}`;
        this.#views.set(view, String((body["type"] as readonly string[])[0]));
        return { _typeName: "ManagedObjectReference", type: "ContainerView", value: view };
      }
      case "ContainerView.DestroyView":
        return void this.#views.delete(id);
      case "PropertyCollector.RetrievePropertiesEx":
        return this.#retrieve(body);
      case "PropertyCollector.ContinueRetrievePropertiesEx":
        return this.#page(String(body["token"]));
      case "VcenterVStorageObjectManager.ListVStorageObject":
        return Object.keys(this.#disksOf(body)).map((disk) => ({ _typeName: "ID", id: disk }));
      case "VcenterVStorageObjectManager.RetrieveVStorageObject":
        return this.#disksOf(body)[String((body["id"] as Data)["id"])];
      case "VcenterVStorageObjectManager.UpdateVStorageObjectCrypto_Task": {
        const disk = this.#disksOf(body)[String((body["id"] as Data)["id"])];
        if (disk === undefined) throw new Fault("NotFound", "disk");
        return void giveAll("DiskCryptoSpec", valueAt(disk, "config.backing"), body["disksCrypto"]);
      }
      case "HostSystem.ConfigureCryptoKey": {
        const runtime = this.#object(type, id).properties["runtime"] as Changed;
        runtime["cryptoKeyId"] = body["keyId"];
        return undefined;
      }
      case "VirtualMachine.ReconfigVM_Task":
        return void reconfigure(this.#object(type, id).properties, body["spec"] as Data);
      case "VirtualMachine.MarkAsVirtualMachine":
      case "VirtualMachine.MarkAsTemplate": {
        const config = this.#object(type, id).properties["config"] as Changed;
        config["template"] = method === "MarkAsTemplate";
        return undefined;
      }
      case "VsanVcClusterConfigSystem.VsanClusterGetConfig":
        return this.#vsanOf(body["cluster"]);
      case "VsanVcClusterConfigSystem.VsanClusterReconfig": {
        const spec = valueAt(body, "vsanReconfigSpec.dataEncryptionConfig") as Data;
        return void Object.assign(this.#encryptionOf(body["cluster"]), spec);
      }
      case "VsanVcClusterConfigSystem.VsanEncryptedClusterRekey_Task": {
        const cluster = body["encryptedCluster"];
        const encryption = this.#encryptionOf(cluster);
        if (body["deepRekey"] !== false) throw new Fault("InvalidState", "a deep re-key");
        encryption["kekId"] = `new-kek-${this.#count++}`;
        const { keepsHostKey, hidesHostKey } = this.#vsanOf(cluster);
        if (keepsHostKey !== true) encryption["hostKeyId"] = `new-host-key-${this.#count++}`;
        if (hidesHostKey === true) delete encryption["hostKeyId"];
        return undefined;
      }
      default:
        return noMethod;
    }
  }

  #object(type: string, id: string): Managed {
    const found = this.#objects.find((one) => one.type === type && one.id === id);
    if (found === undefined) throw new Fault("ManagedObjectNotFound", id);
    return found;
  }

  #vsanOf(cluster: unknown): Data {
    const { value } = cluster as { readonly value: string };
    const { properties } = this.#object("ClusterComputeResource", value);
    // What only vSAN says is in a property of its own.
    return (valueAt(properties, "configurationEx.vsanConfigInfo") ?? properties["vsan"]) as Data;
  }

  #encryptionOf(cluster: unknown): Changed {
    const found = this.#vsanOf(cluster)["dataEncryptionConfig"] as Changed | undefined;
    if (found?.["encryptionEnabled"] !== true) throw new Fault("InvalidState", "not encrypted");
    return found;
  }

  /** First-class disks are in a property of the stand-in's datastores. */
  #disksOf({ datastore }: Data): Data {
    const { value } = datastore as { readonly value: string };
    return (this.#object("Datastore", value).properties["firstClassDisks"] ?? {}) as Data;
  }

  #retrieve(body: Data): unknown {
    const [spec] = body["specSet"] as readonly [Data];
    const [{ obj }] = spec["objectSet"] as readonly [{ readonly obj: { readonly value: string } }];
    const [{ type, pathSet }] = spec["propSet"] as readonly [
      { readonly type: string; readonly pathSet: readonly string[] },
    ];
    if (this.#views.get(obj.value) !== type) throw new Fault("ManagedObjectNotFound", obj.value);
    const found = this.#objects.filter((one) => one.type === type);
    const token = `token-${this.#count++}`;
    this.#pages.set(
      token,
      found.map((one) => shown(one, pathSet)),
    );
    return this.#page(token);
  }

  #page(token: string): unknown {
    const left = this.#pages.get(token);
    if (left === undefined) throw new Fault("InvalidArgument", "token");
    this.#pages.delete(token);
    if (left.length === 0) return null;
    const rest = left.slice(pageObjects);
    const next = `token-${this.#count++}`;
    if (rest.length > 0) this.#pages.set(next, rest);
    const more = rest.length > 0 ? { token: next } : {};
    return { _typeName: "RetrieveResult", objects: left.slice(0, pageObjects), ...more };
  }
}

/** Gives a machine, and its disks, the keys of a specification. */
function reconfigure(properties: Data, { crypto, deviceChange = [] }: Data): void {
  const { refuses, config } = properties as { readonly refuses?: string; readonly config: Changed };
  if (refuses !== undefined) throw new Fault("InvalidState", refuses);
  if (config["template"] === true) throw new Fault("NotSupported", "a template");
  if (crypto !== undefined) give(config, crypto as Data);
  const devices = valueAt(config, "hardware.device") as readonly Data[];
  for (const { device, backing } of deviceChange as readonly Data[]) {
    const name = valueAt(device, "backing.fileName");
    const disk = devices.find((one) => valueAt(one, "backing.fileName") === name);
    if (disk === undefined) throw new Fault("InvalidDeviceSpec", String(name));
    if (backing === undefined) continue;
    giveAll("VirtualDeviceConfigSpecBackingSpec", disk["backing"], backing);
  }
}

/** Gives a disk, and those that it builds on, the keys of a specification, whose parts all have the type `type`. */
function giveAll(type: string, disk: unknown, specification: unknown): void {
  const given: (() => void)[] = [];
  let at = disk as Changed | undefined;
  for (let spec = specification as Data | undefined; spec !== undefined; spec = parentOf(spec)) {
    const { _typeName, crypto } = spec as { readonly _typeName?: unknown; readonly crypto?: Data };
    if (_typeName !== type) throw new Fault("InvalidArgument", `${type}, not ${_typeName}`);
    // Only that of a machine's disk may leave it out (VirtualDeviceConfigSpecBackingSpec).
    if (type === "DiskCryptoSpec" && crypto === undefined) {
      throw new Fault("InvalidArgument", "DiskCryptoSpec.crypto");
    }
    const backing = at;
    if (backing === undefined) throw new Fault("InvalidArgument", `${type}.parent`);
    if (crypto !== undefined) given.push(() => give(backing, crypto));
    at = parentOf(backing) as Changed | undefined;
  }
  for (const one of given) one();
}

function parentOf(data: Data): Data | undefined {
  return data["parent"] as Data | undefined;
}

/** A shallow re-key of what has a key already. */
function give(what: Changed, { _typeName, newKeyId }: Data): void {
  if (_typeName === "CryptoSpecNoOp") return;
  if (_typeName !== "CryptoSpecShallowRecrypt" || what["keyId"] === undefined) {
    throw new Fault("InvalidState", "it is not encrypted");
  }
  what["keyId"] = newKeyId;
}

/** The answer for a method that no object of the inventory has. */
export const noMethod = Symbol("no method");

function shown({ type, id, properties, forbidden = [] }: Managed, paths: readonly string[]): Data {
  const values = paths.flatMap((path) => {
    const value = valueAt(properties, path);
    if (value === undefined || forbidden.includes(path)) return [];
    return [{ _typeName: "DynamicProperty", name: path, val: boxed(value) }];
  });
  const fault = { _typeName: "NoPermission" };
  const hidden = forbidden.filter((path) => paths.includes(path));
  return {
    _typeName: "ObjectContent",
    obj: { _typeName: "ManagedObjectReference", type, value: id },
    propSet: values,
    ...(hidden.length === 0
      ? {}
      : { missingSet: hidden.map((path) => ({ _typeName: "MissingProperty", path, fault })) }),
  };
}

function valueAt(value: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((at, step) => (at as Data | undefined)?.[step], value);
}

/** Primitive values and lists are boxed where any type may stand; objects are not. */
function boxed(value: unknown): unknown {
  if (Array.isArray(value)) return { _typeName: "ArrayOfAnyType", _value: value };
  if (typeof value === "object") return value;
  return { _typeName: typeof value, _value: value };
}
