import { z } from "zod";

/** What a key of an object is used for. */
type KeyUse = "home" | "disk" | "host" | "vsanKek" | "vsanHostKey" | "policy";

/** A key that vCenter says an object uses now. */
interface UsedKey {
  /** The key's identifier at its provider. */
  readonly key: string;
  /** The name of the key provider in vCenter; empty if vCenter does not tell. */
  readonly provider: string;
  readonly use: KeyUse;
  /** The disk or host that uses it, by name; empty for the object itself. */
  readonly of: string;
}

/** An object of a vCenter, as far as keys are concerned. */
export interface VcenterObject {
  readonly name: string;
  /** What vCenter writes as x-Identifier to the keys of this object; both UUIDs of a machine, since releases may differ. */
  readonly identifiers: readonly string[];
  readonly keys: readonly UsedKey[];
  /** Properties that this user may not read at vCenter: the keys may not be all. */
  readonly unread: readonly string[];
}

/** The properties of an object, by path. */
export interface Properties {
  readonly values: Readonly<Record<string, unknown>>;
  /** Paths that the user may not read. */
  readonly missing: readonly string[];
}

const uuids = { machine: ["config.uuid", "config.instanceUuid"], host: "hardware.systemInfo.uuid" };

/** The types of objects that have keys, with the properties that tell of them. */
export const vcenterTypes = {
  VirtualMachine: ["name", ...uuids.machine, "config.keyId", "config.hardware.device"],
  HostSystem: ["name", uuids.host, "runtime.cryptoKeyId"],
  ClusterComputeResource: ["name", "host", "configurationEx"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** A type of `vcenterTypes`. */
export type VcenterType = keyof typeof vcenterTypes;

const text = z.string().catch("");
const keyId = z.object({
  keyId: z.string(),
  providerId: z.object({ id: text }).nullish(),
});
interface Backing {
  readonly keyId?: unknown;
  readonly parent?: Backing | null | undefined;
}
const backing: z.ZodType<Backing> = z.object({
  keyId: z.unknown(),
  get parent() {
    return backing.nullish();
  },
});
const device = z.object({
  deviceInfo: z.object({ label: text }).nullish(),
  backing: backing.nullish(),
});
const references = z.array(z.object({ value: z.string() }));
/** The parts of ClusterConfigInfoEx; of vSAN, keys are plain texts. */
const cluster = z.object({
  cryptoConfig: z
    .object({ policy: z.object({ keyId: z.unknown() }).nullish() })
    .nullish()
    .catch(undefined),
  vsanConfigInfo: z
    .object({
      dataEncryptionConfig: z
        .object({
          kekId: z.string().nullish(),
          hostKeyId: z.string().nullish(),
          kmsProviderId: z.object({ id: text }).nullish(),
        })
        .nullish(),
    })
    .nullish()
    .catch(undefined),
});

/** The keys of an object of this type, but for the hosts of a cluster, which are objects of their own. */
export function objectOf(type: VcenterType, { values, missing }: Properties): VcenterObject {
  const identifiers = [...uuids.machine, uuids.host].flatMap((path) => {
    const value = values[path];
    return typeof value === "string" && value !== "" ? [value.toLowerCase()] : [];
  });
  return {
    name: text.parse(values["name"]),
    identifiers: [...new Set(identifiers)],
    keys: keysOf[type](values),
    unread: missing,
  };
}

const keysOf: Readonly<Record<VcenterType, (values: Properties["values"]) => UsedKey[]>> = {
  VirtualMachine: (values) => [
    ...used(values["config.keyId"], "home"),
    ...listOf(device, values["config.hardware.device"]).flatMap(({ deviceInfo, backing: own }) =>
      chainOf(own).flatMap((each) => used(each.keyId, "disk", deviceInfo?.label)),
    ),
  ],
  HostSystem: (values) => used(values["runtime.cryptoKeyId"], "host", text.parse(values["name"])),
  ClusterComputeResource: (values) => {
    const { cryptoConfig, vsanConfigInfo } =
      cluster.safeParse(values["configurationEx"]).data ?? {};
    const vsan = vsanConfigInfo?.dataEncryptionConfig;
    const ofVsan = (key: string | null | undefined, use: KeyUse) =>
      used(key && { keyId: key, providerId: vsan?.kmsProviderId }, use);
    return [
      ...ofVsan(vsan?.kekId, "vsanKek"),
      ...ofVsan(vsan?.hostKeyId, "vsanHostKey"),
      ...used(cryptoConfig?.policy?.keyId, "policy"),
    ];
  },
};

/** The hosts of a cluster, as vCenter names them. */
export function hostsOf({ values }: Properties): readonly string[] {
  const hosts = references.safeParse(values["host"]);
  return (hosts.data ?? []).map(({ value }) => value);
}

/** A disk's file and those that it builds on; a disk of a snapshot has a key of its own. */
function chainOf(first: Backing | null | undefined): readonly Backing[] {
  const chain: Backing[] = [];
  for (let one = first; one !== undefined && one !== null; one = one.parent) chain.push(one);
  return chain;
}

/** The items that have this form: vCenter has devices of many kinds. */
function listOf<Item>(form: z.ZodType<Item>, value: unknown): readonly Item[] {
  return (Array.isArray(value) ? value : []).flatMap((one) => form.safeParse(one).data ?? []);
}

function used(value: unknown, use: KeyUse, of: string = ""): UsedKey[] {
  const found = keyId.safeParse(value).data;
  if (found === undefined) return [];
  return [{ key: found.keyId.toLowerCase(), provider: found.providerId?.id ?? "", use, of }];
}
