import { OperatorError } from "@holdfast/server/operator-error";
import { ask, canAsk } from "../terminal/ask.ts";
import { eachDespiteFailures, failuresMax } from "../terminal/each.ts";
import { reasonOf } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { plain } from "../terminal/output.ts";
import {
  chainOf,
  type DiskSpec,
  firstClassDisksOf,
  readDisk,
  rekeySpec,
  snapshotsOf,
  virtualDisksIn,
} from "./disks.ts";
import { idOf, KeyProviders } from "./key-provider.ts";
import { MoveJournal } from "./move-journal.ts";
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
  hasVsan,
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

const changedBlocks =
  "it runs with changed block tracking, and vSphere before 8.0 Update 3e may power it off: power it off first, or give --tracked-too";

const unchanged = "vCenter says that it is done, and a part still has its old key";

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
  const { instanceUuid = vcenter.host } = vcenter.content.about;
  const journal = new MoveJournal(wanted.journal, instanceUuid);
  using _ = wanted.dryRun ? undefined : journal.lock();
  const mover = new Mover(vcenter, providers, journal, wanted);
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
    () => mover.snapshots(),
  ];
  for (const list of lists) {
    const items = await list();
    if (wanted.dryRun) say(items.map(({ what }) => `re-key ${plain(what)}`));
    // A cluster at a time: each asks all its hosts to take new keys.
    else await mover.carryOut(items, items === vsan ? 1 : wanted.atOnce);
  }
  mover.end();
}

class Mover {
  readonly #vcenter: Vcenter;
  readonly #providers: KeyProviders;
  readonly #journal: MoveJournal;
  readonly #wanted: Move;
  #done = 0;
  readonly #failed: string[] = [];
  #byHand = 0;

  constructor(vcenter: Vcenter, providers: KeyProviders, journal: MoveJournal, wanted: Move) {
    this.#vcenter = vcenter;
    this.#providers = providers;
    this.#journal = journal;
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
      const name = String(values["name"]);
      if (!(await this.#hasVsan(name, object, shown))) continue;
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

  async #hasVsan(name: string, cluster: MoRef, shown: Data): Promise<boolean> {
    try {
      return await hasVsan(this.#vcenter, cluster, shown);
    } catch (error) {
      this.#leftToYou(`vSAN of cluster ${name}`, reasonOf(error));
      return false;
    }
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
      this.#journal.note("vsan-open", cluster, before.kek, before.hostKey);
      await rekeyVsan(this.#vcenter, cluster, before, { providers: this.#providers, to });
      this.#journal.note("vsan-closed", cluster);
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
    const [begunKek, begunHostKey] = this.#journal.begun("vsan").get(value) ?? [];
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
    this.#leftToYou(`${kind} ${String(found.values["name"] ?? found.object.value)}`, gap);
    return true;
  }

  #leftToYou(what: string, why: string): void {
    this.#byHand += 1;
    say(`left to you: ${plain(what)} (${plain(why)})`);
  }

  async machines(): Promise<readonly Item[]> {
    return await this.#machines(false, (machine) => this.#rekey(machine));
  }

  /** vSphere re-keys no template: each is a machine for a moment, which the journal remembers. */
  async templates(): Promise<readonly Item[]> {
    return await this.#machines(true, async (template) => {
      this.#journal.note("open", template);
      await this.#vcenter.call(template, "MarkAsVirtualMachine", await this.#placeOf(template));
      try {
        await this.#rekey(template);
      } finally {
        // If this fails too, the journal has it for the next run.
        await this.#vcenter.call(template, "MarkAsTemplate");
        this.#journal.note("closed", template);
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
        this.#leftToYou(`datastore ${String(values["name"])}`, "not accessible");
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
    const disksCrypto = this.#spec("DiskCryptoSpec", backing, recrypt(await this.#newKey()));
    const work = { ...asked, disksCrypto };
    await this.#vcenter.task(manager, "UpdateVStorageObjectCrypto_Task", work);
    const after = await readDisk(this.#vcenter, manager, asked);
    if (this.#hasOld(after["backing"])) throw new Error(unchanged);
  }

  /** Makes templates again of what an earlier run had to leave as machines. */
  async restoreTemplates(): Promise<void> {
    for (const value of this.#journal.begun("template").keys()) {
      try {
        await this.#restoreTemplate({ type: "VirtualMachine", value });
      } catch (error) {
        this.#leftToYou(`${value}, which was a template: make it one again`, reasonOf(error));
      }
    }
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
    this.#journal.note("closed", template);
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
    const items: Item[] = [];
    const config = ["template", "keyId", "hardware", "changeTrackingEnabled"];
    const runtime = ["runtime.cryptoState", "runtime.powerState"];
    const paths = ["name", ...runtime, ...config.map((one) => `config.${one}`)];
    const kind = templates ? "template" : "machine";
    for await (const found of objectsOf(this.#vcenter, "VirtualMachine", paths)) {
      const { object, values } = found;
      const name = String(values["name"]);
      if ((values["config.template"] === true) !== templates || !this.#isWanted(name)) continue;
      if (this.#isUnread(kind, found, "config.hardware")) continue;
      const old = this.#oldOf({
        keyId: values["config.keyId"],
        hardware: values["config.hardware"],
      });
      if (!old.home && old.disks.length === 0) continue;
      const parts = [...(old.home ? ["home"] : []), `${old.disks.length} disks`].join(", ");
      const what = `${kind} ${name} (${parts})`;
      const why = this.#whyNot(values);
      if (why === undefined) items.push({ what, move: () => work(object) });
      else this.#leftToYou(what, why);
    }
    return items;
  }

  #isWanted(machine: string): boolean {
    const { machines } = this.#wanted;
    return machines === undefined || machines.includes(machine);
  }

  /** Why a machine must not or cannot be re-keyed now; undefined if it can. */
  #whyNot(machine: Data): string | undefined {
    if (machine["runtime.cryptoState"] === "locked") {
      return "locked: a host that it may run on does not have its key. Unlock it in the vSphere Client first";
    }
    const isTracked = machine["config.changeTrackingEnabled"] === true;
    return isTracked && this.#isAtRisk(machine["runtime.powerState"]) ? changedBlocks : undefined;
  }

  /** Snapshots that keep a key of the old provider: no re-key reaches them. */
  async snapshots(): Promise<readonly Item[]> {
    for await (const found of objectsOf(this.#vcenter, "VirtualMachine", ["name", "snapshot"])) {
      const name = String(found.values["name"]);
      if (!this.#isWanted(name) || this.#isUnread("snapshots of machine", found, "name")) continue;
      for (const { called, snapshot } of snapshotsOf(name, found.values["snapshot"])) {
        const why = await this.#whyKept(snapshot).catch(reasonOf);
        if (why !== undefined) this.#leftToYou(`snapshot ${called}`, why);
      }
    }
    return [];
  }

  async #whyKept(snapshot: MoRef): Promise<string | undefined> {
    const { from } = this.#wanted;
    const config = dataOf(await this.#vcenter.property(snapshot, "config"));
    if (config["hardware"] === undefined) return "has no configuration";
    const { home, disks } = this.#oldOf(config);
    if (!home && disks.length === 0) return undefined;
    return `keeps keys of ${from}: delete it, or keep ${from}`;
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
      backing: this.#spec("VirtualDeviceConfigSpecBackingSpec", device["backing"], crypto),
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
    if (after.home || after.disks.length > 0) throw new Error(unchanged);
  }

  /** The list has no such machine; one may have been powered on since. */
  async #refuseChangedBlocks(machine: MoRef, config: Data): Promise<void> {
    if (config["changeTrackingEnabled"] !== true) return;
    const { powerState } = dataOf(await this.#vcenter.property(machine, "runtime"));
    if (this.#isAtRisk(powerState)) throw new Error(changedBlocks);
  }

  /** Broadcom article 387897: before 8.0 Update 3e a re-key may power a running machine with changed block tracking off. */
  #isAtRisk(powerState: unknown): boolean {
    return !this.#wanted.trackedToo && powerState !== "poweredOff";
  }

  #spec(type: DiskSpec, backing: unknown, crypto: Data): Data {
    return rekeySpec(type, backing, crypto, (key) => this.#isOld(key));
  }

  /** Whether a disk's backing, or one that it builds on, is under the old provider. */
  #hasOld(backing: unknown): boolean {
    return chainOf(backing).some(({ keyId }) => this.#isOld(keyId));
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
}

function recrypt(newKeyId: Data): Data {
  return { _typeName: "CryptoSpecShallowRecrypt", newKeyId };
}
