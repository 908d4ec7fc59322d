import { unboxed } from "@holdfast/server/vi-json";
import { reasonOf } from "../terminal/failure.ts";
import { chainOf, firstClassDisksOf, snapshotsOf, virtualDisksIn } from "./disks.ts";
import { idOf, KeyProviders } from "./key-provider.ts";
import { type Data, dataOf, type Found, objectsOf } from "./property-collector.ts";
import type { MoRef, Vcenter } from "./vi-json.ts";
import { hasVsan, vsanEncryption } from "./vsan.ts";

/** Something in a vCenter that uses a key or a key provider. */
export interface KeyUse {
  readonly vcenter: string;
  readonly kind: string;
  readonly name: string;
  readonly provider: string;
  /** Empty for a setting that names only a provider. */
  readonly keyId: string;
  /** The state of a machine's or host's encryption in vCenter's word, such as `locked` or `safe`; else empty. */
  readonly state: string;
}

/** The kind of a key that vCenter itself lists: what uses it is another use, if that was seen. */
export const listedKind = "key that vCenter lists";

/** What uses keys in a vCenter, and what could not be read: nothing is known about that. */
export interface Inventory {
  readonly uses: readonly KeyUse[];
  readonly unread: readonly string[];
  /** How many things of each kind were looked at. */
  readonly seen: Readonly<Record<string, number>>;
}

/** Looks at everything in a vCenter that can use a key. It only reads. */
export async function inventoryOf(vcenter: Vcenter): Promise<Inventory> {
  const look = new Look(vcenter);
  await look.part("default key provider", () => look.default("vCenter", vcenter.host));
  await look.part("folders", () => look.folders());
  await look.part("machines", () => look.machines());
  await look.part("hosts", () => look.hosts());
  await look.part("clusters", () => look.clusters());
  await look.part("datastores", () => look.datastores());
  await look.part("keys that vCenter lists", () => look.listed());
  look.refuseEmpty();
  return look.inventory;
}

class Look {
  readonly #vcenter: Vcenter;
  readonly #providers: KeyProviders;
  readonly #uses: KeyUse[] = [];
  readonly #unread: string[] = [];
  readonly #seen: Record<string, number> = {};

  constructor(vcenter: Vcenter) {
    this.#vcenter = vcenter;
    this.#providers = new KeyProviders(vcenter);
  }

  get inventory(): Inventory {
    return { uses: this.#uses, unread: this.#unread, seen: this.#seen };
  }

  /** Does a part of the work; what cannot be read is noted, and the rest is read all the same. */
  async part(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#unread.push(`${this.#vcenter.host}: ${what}: ${reasonOf(error)}`);
    }
  }

  /** A user who sees no host, no machine, or a vSAN datastore without its cluster sees too little. */
  refuseEmpty(): void {
    const { hosts = 0, machines = 0, templates = 0 } = this.#seen;
    const { "vSAN datastores": stores = 0, "vSAN clusters": clusters = 0 } = this.#seen;
    if (hosts === 0 || machines + templates === 0) {
      this.#lacks("no host or no machine was seen: use a vCenter user who can read everything");
    }
    if (stores > 0 && clusters === 0) {
      this.#lacks(
        "there are vSAN datastores, and no vSAN cluster was seen: use a user who can read it",
      );
    }
  }

  async default(kind: string, name: string, entity?: MoRef): Promise<void> {
    this.#use(`default of ${kind}`, name, await this.#providers.default(entity), "");
  }

  /** Folders of hosts can have a default of their own. */
  async folders(): Promise<void> {
    for await (const { object, values } of this.#objects("Folder", ["name", "childType"])) {
      if (!stringsOf(values["childType"]).includes("ComputeResource")) continue;
      const name = String(values["name"]);
      await this.part(`default of folder ${name}`, () => this.default("folder", name, object));
    }
  }

  /** Machines and templates: their homes, disks with their parents, and snapshots. */
  async machines(): Promise<void> {
    // Not the whole configuration, which is large.
    const parts = ["template", "keyId", "hardware"] as const;
    const paths = [
      "name",
      "snapshot",
      "runtime.cryptoState",
      ...parts.map((one) => `config.${one}`),
    ];
    for await (const { values } of this.#objects("VirtualMachine", paths)) {
      const name = String(values["name"]);
      const config = Object.fromEntries(parts.map((part) => [part, values[`config.${part}`]]));
      const kind = config["template"] === true ? "template" : "machine";
      this.#count(`${kind}s`);
      const state = String(values["runtime.cryptoState"] ?? "");
      this.#configuration(kind, name, config, state);
      if (state === "locked" && values["config.keyId"] === undefined) {
        this.#lacks(`${kind} ${name}: is locked, and shows no key`);
      }
      await this.#snapshots(name, values["snapshot"]);
    }
  }

  async hosts(): Promise<void> {
    for await (const { values } of this.#objects("HostSystem", ["name", "runtime"])) {
      const name = String(values["name"]);
      const runtime = dataOf(values["runtime"]);
      if (values["runtime"] === undefined) this.#lacks(`host ${name}: shows no state`);
      this.#count("hosts");
      const state = String(runtime["connectionState"] ?? "unknown");
      if (state !== "connected") this.#lacks(`host ${name}: ${state}`);
      this.#key("host", name, runtime["cryptoKeyId"], String(runtime["cryptoState"] ?? ""));
    }
  }

  async clusters(): Promise<void> {
    const paths = ["name", "configurationEx"];
    for await (const { object, values } of this.#objects("ClusterComputeResource", paths)) {
      const name = String(values["name"]);
      const config = dataOf(values["configurationEx"]);
      if (values["configurationEx"] === undefined)
        this.#lacks(`cluster ${name}: has no configuration`);
      this.#count("clusters");
      const policy = dataOf(dataOf(config["cryptoConfig"])["policy"]);
      this.#key("cluster", name, policy["keyId"]);
      this.#use("cluster policy", name, idOf(policy["providerId"]), "");
      await this.part(`default of cluster ${name}`, () => this.default("cluster", name, object));
      // One without a configuration is noted above.
      if (values["configurationEx"] === undefined) continue;
      const vsan = dataOf(config["vsanConfigInfo"]);
      await this.part(`vSAN of cluster ${name}`, () => this.#vsan(name, object, vsan));
    }
  }

  /** First-class disks. */
  async datastores(): Promise<void> {
    for await (const { object, values } of this.#objects("Datastore", ["name", "summary"])) {
      const name = String(values["name"]);
      this.#count("datastores");
      const { accessible, type } = dataOf(values["summary"]);
      if (type === "vsan") this.#count("vSAN datastores");
      if (accessible !== true) {
        this.#lacks(`datastore ${name}: is not accessible`);
      } else {
        await this.part(`first-class disks of datastore ${name}`, () => this.#disks(object));
      }
    }
  }

  /** Keys of registered machines and hosts, as vCenter itself knows them. */
  async listed(): Promise<void> {
    for (const { keyId, providerId } of await this.#providers.keys()) {
      this.#use(listedKind, String(keyId), idOf(providerId), String(keyId));
    }
  }

  async #vsan(name: string, cluster: MoRef, shown: Data): Promise<void> {
    if (!(await hasVsan(this.#vcenter, cluster, shown))) return;
    this.#count("vSAN clusters");
    const encryption = await vsanEncryption(this.#vcenter, cluster, shown);
    if (encryption === undefined) return;
    const { provider, kek, hostKey, isChanging } = encryption;
    for (const [kind, key] of [
      ["vSAN KEK", kek],
      ["vSAN host key", hostKey],
    ] as const) {
      if (key === "") throw new Error(`is encrypted, and shows no ${kind}`);
      this.#use(kind, name, provider, key, isChanging ? "changing" : "");
      // After the provider was switched, and before the re-key, a key of the old one is shown under the new one's name.
      const doubt = await this.#providers.doubt(provider, key);
      if (doubt !== undefined) this.#lacks(`${kind} ${name}: ${doubt}`);
    }
  }

  async #disks(datastore: MoRef): Promise<void> {
    for await (const { config } of firstClassDisksOf(this.#vcenter, datastore)) {
      this.#count("first-class disks");
      this.#backings("first-class disk", String(config["name"]), config["backing"]);
    }
  }

  async #snapshots(machine: string, property: unknown): Promise<void> {
    for (const { called, snapshot } of snapshotsOf(machine, property)) {
      await this.part(`snapshot ${called}`, async () => {
        const config = dataOf(await this.#vcenter.property(snapshot, "config"));
        this.#count("snapshots");
        this.#configuration("snapshot", called, config);
      });
    }
  }

  #configuration(kind: string, name: string, config: Data, state = ""): void {
    const { hardware, keyId } = config;
    if (hardware === undefined) {
      this.#lacks(
        `${kind} ${name}: has no configuration (orphaned, not accessible, or no permission)`,
      );
      return;
    }
    this.#key(kind, name, keyId, state);
    for (const device of virtualDisksIn(hardware)) {
      this.#count("disks");
      this.#backings(`disk of ${kind}`, name, device["backing"]);
    }
  }

  #backings(kind: string, name: string, backing: unknown): void {
    for (const { fileName = "", filePath = fileName, keyId } of chainOf(backing)) {
      this.#key(kind, `${name}: ${String(filePath)}`, keyId);
    }
  }

  #key(kind: string, name: string, key: unknown, state = ""): void {
    const { keyId, providerId } = dataOf(key);
    this.#use(kind, name, idOf(providerId), String(keyId ?? ""), state);
  }

  #use(kind: string, name: string, provider: string, keyId: string, state = ""): void {
    if (provider === "" && keyId === "") return;
    // Without a provider nothing is known: vCenter may mean its default.
    if (provider === "") this.#lacks(`${kind} ${name}: key ${keyId} names no provider`);
    this.#uses.push({ vcenter: this.#vcenter.host, kind, name, provider, keyId, state });
  }

  #lacks(what: string): void {
    this.#unread.push(`${this.#vcenter.host}: ${what}`);
  }

  #count(kind: string): void {
    this.#seen[kind] = (this.#seen[kind] ?? 0) + 1;
  }

  /** Every object of a type. A property that the user may not read is noted: it could name a key. */
  async *#objects(type: string, paths: readonly string[]): AsyncGenerator<Found> {
    for await (const found of objectsOf(this.#vcenter, type, paths)) {
      const { object, values, missing } = found;
      const name = String(values["name"] ?? object.value);
      for (const path of missing) this.#lacks(`${type} ${name}: no permission to read ${path}`);
      yield found;
    }
  }
}

function stringsOf(value: unknown): readonly string[] {
  const plain = unboxed(value);
  return Array.isArray(plain) ? plain.map(String) : [];
}
