import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { OperatorError } from "@holdfast/server/operator-error";
import { Failure, reasonOf } from "../terminal/failure.ts";
import { say } from "../terminal/output.ts";
import { chainOf, firstClassDisksOf, readDisk, virtualDisksIn } from "./disks.ts";
import { idOf, KeyProviders, namesOf } from "./key-provider.ts";
import { type Data, dataOf, objectsOf, referenceOf } from "./property-collector.ts";
import { type MoRef, type Vcenter, VcenterFault } from "./vi-json.ts";

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
  /** Running machines with changed block tracking too. */
  readonly trackedToo: boolean;
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
  await mover.refuseUnknownMachines();
  if (!wanted.dryRun) await mover.restoreTemplates();
  // Each list is read when its turn comes. Templates come after machines: what fails there is found before a template is
  // changed.
  const lists = [
    () => mover.machines(),
    () => mover.templates(),
    () => mover.hosts(),
    () => mover.disks(),
  ];
  for (const list of lists) {
    const items = await list();
    if (wanted.dryRun) say(...items.map(({ what }) => `re-key ${what}`));
    else await mover.carryOut(items);
  }
  mover.end();
}

async function refuseUnready(providers: KeyProviders, { from, to }: Move): Promise<void> {
  if (from === to) throw new Failure("--to: is the provider of --from");
  const known = await providers.list();
  if (!known.some(({ id }) => id === from)) {
    throw new Failure(
      `--from ${from}: this vCenter has no such key provider; it has ${namesOf(known)}`,
    );
  }
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

  /** A name that is not there would move nothing; one of several machines would move them all. */
  async refuseUnknownMachines(): Promise<void> {
    const { machines } = this.#wanted;
    if (machines === undefined) return;
    const counts = new Map<string, number>();
    for await (const { values } of objectsOf(this.#vcenter, "VirtualMachine", ["name"])) {
      const name = String(values["name"]);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const wrong = machines.find((name) => counts.get(name) !== 1);
    if (wrong === undefined) return;
    const count = counts.get(wrong) ?? 0;
    throw new Failure(
      `--machine ${wrong}: this vCenter has ${count === 0 ? "no machine" : `${count} machines`} of this name`,
    );
  }

  async machines(): Promise<readonly Item[]> {
    return await this.#machines(false, (machine) => this.#rekey(machine));
  }

  /** vSphere re-keys no template: each is a machine for a moment, which the journal remembers. */
  async templates(): Promise<readonly Item[]> {
    return await this.#machines(true, async (template) => {
      this.#note("open", template);
      await this.#vcenter.call(template, "MarkAsVirtualMachine", await this.#placeOf(template));
      try {
        await this.#rekey(template);
      } finally {
        // If this fails too, the journal has it for the next run.
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

  /** First-class disks; those of machines were moved with them. */
  async disks(): Promise<readonly Item[]> {
    const manager = this.#vcenter.content.vStorageObjectManager;
    if (this.#wanted.machines !== undefined || manager === undefined) return [];
    const items: Item[] = [];
    for await (const { object, values } of objectsOf(this.#vcenter, "Datastore", [
      "name",
      "summary",
    ])) {
      if (dataOf(values["summary"])["accessible"] !== true) continue;
      try {
        for await (const disk of firstClassDisksOf(this.#vcenter, object)) {
          if (!this.#hasOld(disk.config["backing"])) continue;
          const what = `first-class disk ${String(disk.config["name"])}`;
          items.push({ what, move: () => this.#rekeyDisk(manager, disk.asked) });
        }
      } catch (error) {
        this.#fails(`first-class disks of datastore ${String(values["name"])}`, error);
      }
    }
    return items;
  }

  async #rekeyDisk(manager: MoRef, asked: Data): Promise<void> {
    const { backing } = await readDisk(this.#vcenter, manager, asked);
    if (!this.#hasOld(backing)) return;
    const spec = this.#backing(backing, recrypt(await this.#newKey()));
    const disksCrypto = { ...spec, _typeName: "DiskCryptoSpec" };
    const work = { ...asked, disksCrypto };
    await this.#vcenter.task(manager, "UpdateVStorageObjectCrypto_Task", work);
  }

  /** Makes templates again of what an earlier run had to leave as machines. */
  async restoreTemplates(): Promise<void> {
    const { journal } = this.#wanted;
    if (!existsSync(journal)) return;
    const open = new Set<string>();
    for (const line of readFileSync(journal, "utf8").split("\n")) {
      const [state, vcenter, id = ""] = line.split(" ");
      // The same identifier is another machine at another vCenter.
      if (vcenter !== this.#vcenterId) continue;
      if (state === "open") open.add(id);
      if (state === "closed") open.delete(id);
    }
    for (const value of open) await this.#restoreTemplate({ type: "VirtualMachine", value });
  }

  async #restoreTemplate(template: MoRef): Promise<void> {
    try {
      const summary = dataOf(await this.#vcenter.property(template, "summary"));
      const isTemplate = dataOf(summary["config"])["template"] === true;
      if (!isTemplate) await this.#vcenter.call(template, "MarkAsTemplate");
      say(`${template.value} is a template again`);
    } catch (error) {
      if (!(error instanceof VcenterFault) || error.fault !== "ManagedObjectNotFound") throw error;
      say(`${template.value} was a template, and is not in this vCenter any more`);
    }
    this.#note("closed", template);
  }

  /** Moves things, a few at the same time; one that fails does not stop the others. */
  async carryOut(items: readonly Item[]): Promise<void> {
    const left = [...items];
    let inRow = 0;
    let stopped = false;
    const work = async () => {
      while (!stopped) {
        const item = left.shift();
        if (item === undefined) return;
        try {
          await item.move();
          inRow = 0;
          this.#done += 1;
          say(`done: ${item.what}, ${left.length} left of this kind`);
        } catch (error) {
          inRow += 1;
          this.#fails(item.what, error);
          stopped ||= inRow >= failuresMax;
        }
      }
    };
    await Promise.all(Array.from({ length: this.#wanted.atOnce }, work));
    if (!stopped) return;
    say(
      `stopped after ${failuresMax} failures in a row: ${left.length} more of this kind were not tried`,
    );
    this.end();
  }

  #fails(what: string, error: unknown): void {
    this.#failed.push(what);
    say(`failed: ${what}: ${reasonOf(error)}`);
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
    work: (machine: MoRef) => Promise<void>,
  ): Promise<readonly Item[]> {
    const { machines } = this.#wanted;
    const items: Item[] = [];
    const paths = ["name", "config.template", "config.keyId", "config.hardware"];
    for await (const { object, values } of objectsOf(this.#vcenter, "VirtualMachine", paths)) {
      const name = String(values["name"]);
      if ((values["config.template"] === true) !== templates) continue;
      if (machines !== undefined && !machines.includes(name)) continue;
      const old = this.#oldOf({
        keyId: values["config.keyId"],
        hardware: values["config.hardware"],
      });
      if (!old.home && old.disks.length === 0) continue;
      const parts = [...(old.home ? ["home"] : []), `${old.disks.length} disks`].join(", ");
      const what = `${templates ? "template" : "machine"} ${name} (${parts})`;
      items.push({ what, move: () => work(object) });
    }
    return items;
  }

  /** What of a machine is under the old provider. */
  #oldOf({ keyId, hardware }: Data): { readonly home: boolean; readonly disks: readonly Data[] } {
    const disks = virtualDisksIn(hardware).filter(({ backing }) => this.#hasOld(backing));
    return { home: this.#isOld(keyId), disks };
  }

  /**
   * One new key for the home and all disks. A machine with only a virtual TPM has no encrypted disk, and gets none. The
   * machine is read now: since the list was made, a snapshot or a move may have changed its disks, and vCenter refuses the
   * change if it changes again meanwhile (`changeVersion`).
   */
  async #rekey(machine: MoRef): Promise<void> {
    const config = dataOf(await this.#vcenter.property(machine, "config"));
    const { home, disks } = this.#oldOf(config);
    if (!home && disks.length === 0) return;
    await this.#refuseChangedBlocks(machine, config);
    const crypto = recrypt(await this.#newKey());
    const deviceChange = disks.map((device) => ({
      _typeName: "VirtualDeviceConfigSpec",
      operation: "edit",
      device,
      backing: this.#backing(device["backing"], crypto),
    }));
    const { changeVersion } = config;
    const spec = {
      _typeName: "VirtualMachineConfigSpec",
      ...(changeVersion === undefined ? {} : { changeVersion }),
      ...(home ? { crypto } : {}),
      ...(deviceChange.length === 0 ? {} : { deviceChange }),
    };
    await this.#vcenter.task(machine, "ReconfigVM_Task", { spec });
    const after = this.#oldOf(dataOf(await this.#vcenter.property(machine, "config")));
    if (after.home || after.disks.length > 0) {
      throw new Error("vCenter says that it is done, and a part still has its old key");
    }
  }

  /** Broadcom article 387897: before 8.0 Update 3e such a re-key may power a running machine off. */
  async #refuseChangedBlocks(machine: MoRef, config: Data): Promise<void> {
    if (this.#wanted.trackedToo || config["changeTrackingEnabled"] !== true) return;
    const { powerState } = dataOf(await this.#vcenter.property(machine, "runtime"));
    if (powerState === "poweredOff") return;
    throw new Error(
      "it runs with changed block tracking, and vSphere before 8.0 Update 3e may power it off: power it off first, or give --tracked-too",
    );
  }

  /** The new key for a backing and for those that it builds on, as far as they are under the old provider. */
  #backing(backing: unknown, crypto: Data): Data {
    const { keyId, parent } = dataOf(backing);
    const below = this.#hasOld(parent) ? this.#backing(parent, crypto) : undefined;
    return {
      _typeName: "VirtualDeviceConfigSpecBackingSpec",
      ...(this.#isOld(keyId) ? { crypto } : {}),
      ...(below === undefined ? {} : { parent: below }),
    };
  }

  /** Whether a disk's backing, or one that it builds on, is under the old provider. */
  #hasOld(backing: unknown): boolean {
    return chainOf(backing).some(({ keyId }) => this.#isOld(keyId));
  }

  #isOld(key: unknown): boolean {
    return idOf(dataOf(key)["providerId"]) === this.#wanted.from;
  }

  get #vcenterId(): string {
    return this.#vcenter.content.about.instanceUuid ?? this.#vcenter.host;
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
    const line = `${state} ${this.#vcenterId} ${value}\n`;
    appendFileSync(this.#wanted.journal, line, { flush: true });
  }
}

function recrypt(newKeyId: Data): Data {
  return { _typeName: "CryptoSpecShallowRecrypt", newKeyId };
}
