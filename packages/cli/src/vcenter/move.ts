import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { OperatorError } from "@holdfast/server/operator-error";
import { ask, canAsk } from "../terminal/ask.ts";
import { eachDespiteFailures, failuresMax } from "../terminal/each.ts";
import { reasonOf } from "../terminal/failure.ts";
import { plain, say } from "../terminal/output.ts";
import { chainOf, firstClassDisksOf, readDisk, virtualDisksIn } from "./disks.ts";
import { idOf, KeyProviders } from "./key-provider.ts";
import { refuseUnknown, refuseUnready } from "./move-refusals.ts";
import {
  type Data,
  dataOf,
  type Found,
  gapOf,
  objectsOf,
  referenceOf,
} from "./property-collector.ts";
import { type MoRef, type Vcenter, VcenterFault } from "./vi-json.ts";
import {
  rekeyVsan,
  type VsanEncryption,
  type VsanKeys,
  vsanEncryption,
  vsanSteps,
} from "./vsan.ts";

/** What is moved, and how. */
export interface Move {
  readonly from: string;
  readonly to: string;
  /** How many things are moved at the same time. */
  readonly atOnce: number;
  /** Only machines of these names; all things unless given. */
  readonly machines: readonly string[] | undefined;
  /** Clusters whose vSAN is moved without a question. */
  readonly vsan: readonly string[];
  /** A file that remembers which templates are machines for a moment, and the keys that vSAN had before. */
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

/**
 * Gives everything under one key provider a key of another one, by a shallow re-key: no disk is encrypted again. Things
 * that are moved already are left alone, so a second run continues.
 */
export async function move(vcenter: Vcenter, wanted: Move): Promise<void> {
  const providers = new KeyProviders(vcenter);
  await refuseUnready(providers, wanted);
  const mover = new Mover(vcenter, providers, wanted);
  await refuseUnknown(vcenter, "VirtualMachine", "--machine", wanted.machines ?? []);
  await refuseUnknown(vcenter, "ClusterComputeResource", "--vsan", wanted.vsan);
  // Asked now: nobody waits at the terminal for hours until its turn comes.
  const vsan = await mover.vsan();
  if (!wanted.dryRun) await mover.restoreTemplates();
  // Each list is read when its turn comes. Templates come after machines: what fails there is found before a template is
  // changed.
  const lists = [
    () => mover.machines(),
    () => mover.templates(),
    () => Promise.resolve(vsan),
    () => mover.hosts(),
    () => mover.disks(),
  ];
  for (const list of lists) {
    const items = await list();
    if (wanted.dryRun) say(...items.map(({ what }) => `re-key ${plain(what)}`));
    // A cluster at a time: each asks all its hosts to take new keys.
    else await mover.carryOut(items, items === vsan ? 1 : wanted.atOnce);
  }
  mover.end();
}

class Mover {
  readonly #vcenter: Vcenter;
  readonly #providers: KeyProviders;
  readonly #wanted: Move;
  #done = 0;
  readonly #failed: string[] = [];
  #byHand = 0;

  constructor(vcenter: Vcenter, providers: KeyProviders, wanted: Move) {
    this.#vcenter = vcenter;
    this.#providers = providers;
    this.#wanted = wanted;
  }

  /** Clusters whose vSAN is under the old provider, as far as a person has agreed; the others are left, with the steps. */
  async vsan(): Promise<readonly Item[]> {
    if (this.#wanted.machines !== undefined) return [];
    const items: Item[] = [];
    const paths = ["name", "configurationEx"];
    for await (const found of objectsOf(this.#vcenter, "ClusterComputeResource", paths)) {
      if (this.#isUnread("cluster", found, "configurationEx")) continue;
      const { object, values } = found;
      const shown = dataOf(dataOf(values["configurationEx"])["vsanConfigInfo"]);
      if (shown["enabled"] !== true) continue;
      const name = String(values["name"]);
      try {
        const encryption = await vsanEncryption(this.#vcenter, object, shown);
        const before = encryption && (await this.#oldVsan(object, encryption));
        if (encryption !== undefined && before !== undefined) {
          items.push(...(await this.#vsanItem(name, object, encryption, before)));
        }
      } catch (error) {
        this.#leave(name, reasonOf(error));
      }
    }
    return items;
  }

  async #vsanItem(
    name: string,
    cluster: MoRef,
    { byHand }: VsanEncryption,
    before: VsanKeys,
  ): Promise<readonly Item[]> {
    const { to, dryRun, vsan } = this.#wanted;
    if (byHand !== undefined) return this.#leave(name, byHand);
    const what = `vSAN of cluster ${name}: switch it to ${to}, then a new KEK and host key`;
    if (!dryRun && !vsan.includes(name) && !(await this.#agreed(name))) {
      return this.#leave(name, `nobody has agreed to it: give --vsan ${name}`);
    }
    const run = async () => {
      // Once the provider is switched, vCenter does not say any more which keys are old.
      this.#note("vsan-open", cluster, before.kek, before.hostKey);
      await rekeyVsan(this.#vcenter, cluster, before, to);
      this.#note("vsan-closed", cluster);
    };
    return [{ what, move: run }];
  }

  async #agreed(name: string): Promise<boolean> {
    if (!canAsk()) return false;
    const says = `vSAN of cluster ${plain(name)}: every host must reach every server of ${this.#wanted.to} at port 5696, and vSAN's health must be green.`;
    return (
      (await ask(`${says} Type the cluster's name to move it, or Enter to leave it:`)) === name
    );
  }

  /** The keys that a cluster is to lose; undefined if it has none of the old provider. */
  async #oldVsan(
    { value }: MoRef,
    { provider, kek, hostKey }: VsanEncryption,
  ): Promise<VsanKeys | undefined> {
    const { from, to } = this.#wanted;
    if (provider === from) return { kek, hostKey };
    if (provider !== to) return undefined;
    const [begunKek, begunHostKey] = this.#begun("vsan").get(value) ?? [];
    // The journal may be lost, and one that is not shown may be an old one.
    const isOld = async (key: string, begun: string | undefined) =>
      key === "" || key === begun || (await this.#providers.doubt(to, key)) !== undefined;
    const [oldKek, oldHostKey] = [await isOld(kek, begunKek), await isOld(hostKey, begunHostKey)];
    if (!oldKek && !oldHostKey) return undefined;
    return {
      kek: begunKek ?? (oldKek ? kek : ""),
      hostKey: begunHostKey ?? (oldHostKey ? hostKey : ""),
    };
  }

  #leave(name: string, why: string): readonly Item[] {
    this.#byHand += 1;
    say(
      `left to you: vSAN of cluster ${plain(name)} (${plain(why)}), in this order:`,
      ...vsanSteps(name, this.#wanted.to).map(plain),
    );
    return [];
  }

  /** Names an object as left if it cannot be judged: it may be under the old provider. */
  #isUnread(kind: string, found: Found, needed: string): boolean {
    const gap = gapOf(found, needed);
    if (gap === undefined) return false;
    this.#cannotJudge(`${kind} ${String(found.values["name"] ?? found.object.value)}`, gap);
    return true;
  }

  #cannotJudge(what: string, why: string): void {
    this.#byHand += 1;
    say(`left to you: ${plain(what)} (${plain(why)})`);
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
    const paths = ["name", "runtime"];
    for await (const found of objectsOf(this.#vcenter, "HostSystem", paths)) {
      if (this.#isUnread("host", found, "runtime")) continue;
      const { object, values } = found;
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
    const paths = ["name", "summary"];
    for await (const found of objectsOf(this.#vcenter, "Datastore", paths)) {
      if (this.#isUnread("datastore", found, "summary")) continue;
      const { object, values } = found;
      if (dataOf(values["summary"])["accessible"] !== true) {
        this.#cannotJudge(`datastore ${String(values["name"])}`, "not accessible");
        continue;
      }
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
    for (const value of this.#begun("template").keys()) {
      await this.#restoreTemplate({ type: "VirtualMachine", value });
    }
  }

  /** What the journal has of work that an earlier run has begun and not ended, by object. */
  #begun(kind: "template" | "vsan"): ReadonlyMap<string, readonly string[]> {
    const { journal } = this.#wanted;
    const open = new Map<string, readonly string[]>();
    if (!existsSync(journal)) return open;
    const prefix = kind === "template" ? "" : "vsan-";
    for (const line of readFileSync(journal, "utf8").split("\n")) {
      const [state, vcenter, id = "", ...more] = line.split(" ");
      // The same identifier is another machine at another vCenter.
      if (vcenter !== this.#vcenterId) continue;
      if (state === `${prefix}open`) open.set(id, more);
      if (state === `${prefix}closed`) open.delete(id);
    }
    return open;
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
  async carryOut(items: readonly Item[], atOnce: number): Promise<void> {
    const { stopped, untried } = await eachDespiteFailures(items, atOnce, ({ move }) => move(), {
      done: ({ what }, left) => {
        this.#done += 1;
        say(`done: ${plain(what)}, ${left} left of this kind`);
      },
      failed: ({ what }, error) => this.#fails(what, error),
    });
    if (!stopped) return;
    say(
      `stopped after ${failuresMax} failures in a row: ${untried} more of this kind were not tried`,
    );
    this.end();
  }

  #fails(what: string, error: unknown): void {
    this.#failed.push(what);
    say(`failed: ${plain(what)}: ${reasonOf(error)}`);
  }

  /** Says what was done, and what is left for a person. */
  end(): void {
    const { from, dryRun } = this.#wanted;
    if (dryRun) {
      say("cluster policies and default providers are changed in vCenter");
      return;
    }
    say(
      `${this.#done} things were moved; cluster policies and default providers are changed in vCenter, then \`holdfast vcenter verify\` says whether anything still uses ${from}`,
    );
    const left = this.#failed.length + this.#byHand;
    if (left === 0) return;
    throw new OperatorError(
      `${left} things were not moved (see above): give the same command again once the cause is gone`,
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
    const kind = templates ? "template" : "machine";
    for await (const found of objectsOf(this.#vcenter, "VirtualMachine", paths)) {
      const { object, values } = found;
      const name = String(values["name"]);
      if ((values["config.template"] === true) !== templates) continue;
      if (machines !== undefined && !machines.includes(name)) continue;
      if (this.#isUnread(kind, found, "config.hardware")) continue;
      const old = this.#oldOf({
        keyId: values["config.keyId"],
        hardware: values["config.hardware"],
      });
      if (!old.home && old.disks.length === 0) continue;
      const parts = [...(old.home ? ["home"] : []), `${old.disks.length} disks`].join(", ");
      const what = `${kind} ${name} (${parts})`;
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

  #note(
    state: "open" | "closed" | "vsan-open" | "vsan-closed",
    { value }: MoRef,
    ...more: readonly string[]
  ): void {
    const line = `${[state, this.#vcenterId, value, ...more].join(" ")}\n`;
    appendFileSync(this.#wanted.journal, line, { flush: true });
  }
}

function recrypt(newKeyId: Data): Data {
  return { _typeName: "CryptoSpecShallowRecrypt", newKeyId };
}
