import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { OperatorError } from "@holdfast/server/operator-error";
import { Failure, reasonOf } from "../terminal/failure.ts";
import { say } from "../terminal/output.ts";
import { idOf, KeyProviders } from "./key-provider.ts";
import { type Data, dataOf, listOf, objectsOf, referenceOf } from "./property-collector.ts";
import type { MoRef, Vcenter } from "./vi-json.ts";

/** What is moved, and how. */
export interface Move {
  readonly from: string;
  readonly to: string;
  /** How many things are moved at the same time. */
  readonly atOnce: number;
  /** Only machines of these names; all things unless given. */
  readonly machines: readonly string[] | undefined;
  /** A file that remembers which templates are machines for a moment. */
  readonly journal: string;
  readonly dryRun: boolean;
}

/** Something that gets a new key. */
interface Item {
  readonly what: string;
  readonly move: () => Promise<void>;
}

/** After so many failures in a row, the cause is not the single machine. */
const failuresMax = 5;

/**
 * Gives everything under one key provider a key of another one, by a shallow re-key: no disk is encrypted again. Things
 * that are moved already are left alone, so a second run continues.
 */
export async function move(vcenter: Vcenter, wanted: Move): Promise<void> {
  const providers = new KeyProviders(vcenter);
  await refuseUnready(providers, wanted);
  const mover = new Mover(vcenter, providers, wanted);
  if (!wanted.dryRun) await mover.restoreTemplates();
  // Templates after machines: what fails there is found before a template is changed.
  for (const items of [
    await mover.machines(),
    await mover.templates(),
    await mover.hosts(),
    await mover.disks(),
  ]) {
    if (wanted.dryRun) say(...items.map(({ what }) => `re-key ${what}`));
    else await mover.carryOut(items);
  }
  mover.end();
}

async function refuseUnready(providers: KeyProviders, { from, to }: Move): Promise<void> {
  if (from === to) throw new Failure("--to: is the provider of --from");
  const known = await providers.list();
  const target = known.find(({ id }) => id === to);
  if (target === undefined) {
    throw new Failure(
      `--to ${to}: this vCenter has no such key provider: use \`holdfast vcenter connect\``,
    );
  }
  const { overall } = await providers.status(target);
  if (overall === "green") return;
  throw new OperatorError(
    `${to} is ${overall} in this vCenter, so machines would not get its keys: look at \`holdfast vcenter status\` first; nothing was changed`,
    "again",
  );
}

class Mover {
  readonly #vcenter: Vcenter;
  readonly #providers: KeyProviders;
  readonly #wanted: Move;
  #done = 0;
  readonly #failed: string[] = [];

  constructor(vcenter: Vcenter, providers: KeyProviders, wanted: Move) {
    this.#vcenter = vcenter;
    this.#providers = providers;
    this.#wanted = wanted;
  }

  async machines(): Promise<readonly Item[]> {
    return await this.#machines(false, (machine, hardware, keyId) =>
      this.#rekey(machine, hardware, keyId),
    );
  }

  /** vSphere re-keys no template: each is a machine for a moment, which the journal remembers. */
  async templates(): Promise<readonly Item[]> {
    return await this.#machines(true, async (template, hardware, keyId) => {
      this.#note("open", template);
      const place = await this.#placeOf(template);
      await this.#vcenter.call(template, "MarkAsVirtualMachine", place);
      try {
        await this.#rekey(template, hardware, keyId);
      } finally {
        await this.#vcenter.call(template, "MarkAsTemplate");
        this.#note("closed", template);
      }
    });
  }

  async hosts(): Promise<readonly Item[]> {
    if (this.#wanted.machines !== undefined) return [];
    const items: Item[] = [];
    for await (const { object, values } of objectsOf(this.#vcenter, "HostSystem", [
      "name",
      "runtime",
    ])) {
      if (!this.#isOld(dataOf(values["runtime"])["cryptoKeyId"])) continue;
      const run = async () => {
        const keyId = await this.#newKey();
        await this.#vcenter.call(object, "ConfigureCryptoKey", { keyId });
      };
      items.push({ what: `host ${String(values["name"])}`, move: run });
    }
    return items;
  }

  /** First-class disks. */
  async disks(): Promise<readonly Item[]> {
    const manager = this.#vcenter.content.vStorageObjectManager;
    if (this.#wanted.machines !== undefined || manager === undefined) return [];
    const items: Item[] = [];
    for await (const { object, values } of objectsOf(this.#vcenter, "Datastore", [
      "name",
      "summary",
    ])) {
      if (dataOf(values["summary"])["accessible"] !== true) continue;
      const place = { datastore: referenceOf(object) };
      for (const id of listOf(await this.#vcenter.call(manager, "ListVStorageObject", place))) {
        const asked = { id, ...place };
        const disk = dataOf(await this.#vcenter.call(manager, "RetrieveVStorageObject", asked));
        const config = dataOf(disk["config"]);
        if (!this.#isOld(dataOf(config["backing"])["keyId"])) continue;
        const run = async () => {
          const crypto = recrypt(await this.#newKey());
          const disksCrypto = { _typeName: "DiskCryptoSpec", crypto };
          await this.#vcenter.task(manager, "UpdateVStorageObjectCrypto_Task", {
            ...asked,
            disksCrypto,
          });
        };
        items.push({ what: `first-class disk ${String(config["name"])}`, move: run });
      }
    }
    return items;
  }

  /** Makes templates again of what an earlier run had to leave as machines. */
  async restoreTemplates(): Promise<void> {
    const { journal } = this.#wanted;
    if (!existsSync(journal)) return;
    const open = new Set<string>();
    for (const line of readFileSync(journal, "utf8").split("\n")) {
      const [state, id = ""] = line.split(" ");
      if (state === "open") open.add(id);
      if (state === "closed") open.delete(id);
    }
    for (const value of open) {
      const template = { type: "VirtualMachine", value };
      const isTemplate = await this.#vcenter
        .property(template, "summary")
        .then((summary) => dataOf(dataOf(summary)["config"])["template"] === true);
      if (!isTemplate) await this.#vcenter.call(template, "MarkAsTemplate");
      this.#note("closed", template);
      say(`${value} is a template again`);
    }
  }

  /** Moves things, a few at the same time; one that fails does not stop the others. */
  async carryOut(items: readonly Item[]): Promise<void> {
    const left = [...items];
    let inRow = 0;
    const work = async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) {
        try {
          await item.move();
          inRow = 0;
          this.#done += 1;
          say(`done: ${item.what}, ${left.length} left of this kind`);
        } catch (error) {
          inRow += 1;
          this.#failed.push(`${item.what}: ${reasonOf(error)}`);
          say(`failed: ${item.what}: ${reasonOf(error)}`);
          if (inRow >= failuresMax) left.length = 0;
        }
      }
    };
    await Promise.all(Array.from({ length: this.#wanted.atOnce }, work));
    if (inRow >= failuresMax) this.end();
  }

  /** Says what was done, and what is left for a person. */
  end(): void {
    const { from, dryRun } = this.#wanted;
    if (dryRun) {
      say("vSAN, cluster policies and default providers are changed in vCenter");
      return;
    }
    say(
      `${this.#done} things were moved; vSAN, cluster policies and default providers are changed in vCenter, then \`holdfast vcenter verify\` says whether anything still uses ${from}`,
    );
    if (this.#failed.length === 0) return;
    throw new OperatorError(
      `${this.#failed.length} things were not moved (see above): give the same command again once the cause is gone`,
      "again",
    );
  }

  async #machines(
    templates: boolean,
    work: (machine: MoRef, disks: readonly Data[], home: boolean) => Promise<void>,
  ): Promise<readonly Item[]> {
    const { machines } = this.#wanted;
    const items: Item[] = [];
    const paths = ["name", "config.template", "config.keyId", "config.hardware"];
    for await (const { object, values } of objectsOf(this.#vcenter, "VirtualMachine", paths)) {
      const name = String(values["name"]);
      if ((values["config.template"] === true) !== templates) continue;
      if (machines !== undefined && !machines.includes(name)) continue;
      const devices = listOf(dataOf(values["config.hardware"])["device"]);
      const disks = devices.filter(
        (one) => one["_typeName"] === "VirtualDisk" && this.#hasOld(one["backing"]),
      );
      const home = this.#isOld(values["config.keyId"]);
      if (!home && disks.length === 0) continue;
      const what = `${templates ? "template" : "machine"} ${name} (${[...(home ? ["home"] : []), `${disks.length} disks`].join(", ")})`;
      items.push({ what, move: () => work(object, disks, home) });
    }
    return items;
  }

  /** One new key for the home and all disks. A machine with only a virtual TPM has no encrypted disk, and gets none. */
  async #rekey(machine: MoRef, disks: readonly Data[], home: boolean): Promise<void> {
    const crypto = recrypt(await this.#newKey());
    const deviceChange = disks.map((device) => ({
      _typeName: "VirtualDeviceConfigSpec",
      operation: "edit",
      device,
      backing: this.#backing(device["backing"], crypto),
    }));
    const spec = {
      _typeName: "VirtualMachineConfigSpec",
      ...(home ? { crypto } : {}),
      ...(deviceChange.length === 0 ? {} : { deviceChange }),
    };
    await this.#vcenter.task(machine, "ReconfigVM_Task", { spec });
    const hardware = await this.#vcenter.property(machine, "config").then(dataOf);
    const devices = listOf(dataOf(hardware["hardware"])["device"]);
    if (this.#isOld(hardware["keyId"]) || devices.some((one) => this.#hasOld(one["backing"]))) {
      throw new Error("vCenter says that it is done, and a part still has its old key");
    }
  }

  #backing(backing: unknown, crypto: Data): Data {
    const { keyId, parent } = dataOf(backing);
    return {
      _typeName: "VirtualDeviceConfigSpecBackingSpec",
      ...(this.#isOld(keyId) ? { crypto } : {}),
      ...(this.#hasOld(parent) ? { parent: this.#backing(parent, crypto) } : {}),
    };
  }

  /** Whether a disk's backing, or one that it builds on, is under the old provider. */
  #hasOld(backing: unknown): boolean {
    if (backing === undefined || backing === null) return false;
    const { keyId, parent } = dataOf(backing);
    return this.#isOld(keyId) || this.#hasOld(parent);
  }

  #isOld(key: unknown): boolean {
    return idOf(dataOf(key)["providerId"]) === this.#wanted.from;
  }

  async #newKey(): Promise<Data> {
    return await this.#providers.newKey(this.#wanted.to);
  }

  /** Where a template can be a machine: the resource pool of its host. */
  async #placeOf(template: MoRef): Promise<Data> {
    const { host } = dataOf(await this.#vcenter.property(template, "runtime"));
    const parent = (await this.#vcenter.property(host as MoRef, "parent")) as MoRef;
    const pool = (await this.#vcenter.property(parent, "resourcePool")) as MoRef;
    return { pool: referenceOf(pool), host: referenceOf(host as MoRef) };
  }

  #note(state: "open" | "closed", { value }: MoRef): void {
    appendFileSync(this.#wanted.journal, `${state} ${value}\n`, { flush: true });
  }
}

function recrypt(newKeyId: Data): Data {
  return { _typeName: "CryptoSpecShallowRecrypt", newKeyId };
}
