import { reasonOf } from "../terminal/failure.ts";
import { idOf, type KeyProviders } from "./key-provider.ts";
import { type Data, dataOf, referenceOf } from "./property-collector.ts";
import type { MoRef, Vcenter } from "./vi-json.ts";

/** Identifiers of a vSAN cluster's keys; empty where vCenter shows none. */
export interface VsanKeys {
  readonly kek: string;
  readonly hostKey: string;
}

/** How the data of a vSAN cluster are encrypted at rest. */
export interface VsanEncryption extends VsanKeys {
  readonly provider: string;
  /** vSAN applies a change of it now. */
  readonly isChanging: boolean;
  /** Why this vCenter cannot change it over JSON; undefined if it can. */
  readonly byHand: string | undefined;
}

const system = { type: "VsanVcClusterConfigSystem", value: "vsan-cluster-config-system" };

/**
 * Whether a cluster has vSAN. `shown` is what the cluster itself shows (`vsanConfigInfo`); vSAN is asked where that does not
 * say it. Throws if nobody says it.
 */
export async function hasVsan(vcenter: Vcenter, cluster: MoRef, shown: Data): Promise<boolean> {
  if (typeof shown["enabled"] === "boolean") return shown["enabled"];
  let why = "it does not say it";
  try {
    const { enabled } = dataOf(await askVsan(vcenter, cluster));
    if (typeof enabled === "boolean") return enabled;
  } catch (error) {
    why = reasonOf(error);
  }
  throw new Error(
    `nobody knows whether the cluster has vSAN: it does not show it, and vSAN was asked (${why}): use the PowerCLI script`,
  );
}

async function askVsan(vcenter: Vcenter, cluster: MoRef): Promise<unknown> {
  return await vcenter.callAt("vsan", system, "VsanClusterGetConfig", {
    cluster: referenceOf(cluster),
  });
}

/**
 * The encryption of a cluster; undefined if its data are not encrypted. `shown` is what the cluster itself shows
 * (`vsanConfigInfo`): a release without JSON for vSAN shows it there, or not at all, which is an error.
 */
export async function vsanEncryption(
  vcenter: Vcenter,
  cluster: MoRef,
  shown: Data,
): Promise<VsanEncryption | undefined> {
  let byHand: string | undefined;
  const asked = await askVsan(vcenter, cluster).catch((error: unknown) => {
    byHand = reasonOf(error);
    return shown;
  });
  const found = dataOf(dataOf(asked)["dataEncryptionConfig"] ?? shown["dataEncryptionConfig"]);
  if (found["encryptionEnabled"] === undefined) {
    throw new Error("this vCenter shows its keys over SOAP only: use the PowerCLI script");
  }
  if (found["encryptionEnabled"] !== true) return undefined;
  const text = (field: string) => (typeof found[field] === "string" ? found[field] : "");
  return {
    provider: idOf(found["kmsProviderId"]),
    kek: text("kekId"),
    hostKey: text("hostKeyId"),
    isChanging: found["changing"] === true,
    byHand,
  };
}

/**
 * Gives a cluster the provider `to`, then a new KEK from it (a shallow re-key: no data are encrypted again). `before` is
 * what it had before the first run, which may have been cut off between the two. Throws if a key is still the same or is not
 * shown: vCenter shows one provider for both keys, so a key of the old provider would pass for one of the new. One that was not
 * shown before is new if vCenter says that `to` has it.
 */
export async function rekeyVsan(
  vcenter: Vcenter,
  cluster: MoRef,
  before: VsanKeys,
  { providers, to }: { readonly providers: KeyProviders; readonly to: string },
): Promise<void> {
  const now = await vsanEncryption(vcenter, cluster, {});
  if (now === undefined) throw new Error("its data are not encrypted any more");
  if (now.isChanging) {
    throw new Error("vSAN applies another change of its encryption: wait until that has ended");
  }
  if (now.provider !== to) {
    const dataEncryptionConfig = {
      encryptionEnabled: true,
      kmsProviderId: { _typeName: "KeyProviderId", id: to },
    };
    await vcenter.taskAt("vsan", system, "VsanClusterReconfig", {
      cluster: referenceOf(cluster),
      vsanReconfigSpec: { _typeName: "VimVsanReconfigSpec", modify: true, dataEncryptionConfig },
    });
  }
  await vcenter.taskAt("vsan", system, "VsanEncryptedClusterRekey_Task", {
    encryptedCluster: referenceOf(cluster),
    deepRekey: false,
  });
  const after = await vsanEncryption(vcenter, cluster, {});
  const hidden = [...(after?.kek ? [] : ["KEK"]), ...(after?.hostKey ? [] : ["host key"])];
  if (hidden.length > 0) {
    throw new Error(
      `vCenter says that it is done, and shows no ${hidden.join(" and no ")}, so nobody knows whether it is new: keep the old provider, see that vSAN's health is green, and give the command again`,
    );
  }
  const same = [
    ...(after?.kek === before.kek ? ["KEK"] : []),
    ...(after?.hostKey === before.hostKey ? ["host key"] : []),
  ];
  if (after?.provider === to && same.length === 0) {
    return await refuseUnproven(providers, to, [
      ...(before.kek === "" ? [after.kek] : []),
      ...(before.hostKey === "" ? [after.hostKey] : []),
    ]);
  }
  throw new Error(
    `vCenter says that it is done, and the ${same.join(" and the ") || "provider"} is still the old one: keep the old provider, and make new keys in the vSphere Client (the cluster, Configure, vSAN, Services, Data-At-Rest Encryption, Generate New Encryption Keys)`,
  );
}

async function refuseUnproven(
  providers: KeyProviders,
  to: string,
  keys: readonly string[],
): Promise<void> {
  for (const key of keys) {
    const doubt = await providers.doubt(to, key);
    if (doubt !== undefined) throw new Error(`vCenter says that it is done, and ${doubt}`);
  }
}

/** What a person does where this command cannot, in its order. */
export function vsanSteps(name: string, to: string): readonly string[] {
  // PowerShell ends such a text at any of these quotation marks, and reads two as one.
  const quoted = (text: string) => `'${text.replaceAll(/['\u2018-\u201b]/g, "$&$&")}'`;
  const [cluster, provider] = [quoted(name), quoted(to)];
  return [
    "  1. vSphere Client: the cluster, Monitor, vSAN: wait until its health is green and no object resynchronizes",
    `  2. the cluster, Configure, vSAN, Services, Data-At-Rest Encryption, Edit: choose ${to}, and wait until the task has ended`,
    "  3. at the same place: Generate New Encryption Keys, without encrypting all data again",
    "  or with PowerCLI, each after the task before has ended:",
    `     Start-VsanEncryptionConfiguration -Cluster (Get-Cluster -Name ${cluster}) -KeyProvider (Get-KeyProvider -Name ${provider})`,
    `     Start-VsanEncryptionConfiguration -Cluster (Get-Cluster -Name ${cluster}) -ShallowRekey`,
  ];
}
