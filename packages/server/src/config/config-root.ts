import { choice, file, integer, optional, optionalGroup, type Setting, text } from "./setting.ts";

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const keyRingForm = ["2 to 100 letters, digits or hyphens", /^[A-Za-z0-9-]{2,100}$/] as const;

/** A secret's two places; rules see to it that one is set at most. */
function secretFrom<Name extends string>(name: Name, what: string) {
  const rows = {
    [`${name}File`]: optional(file(`File with ${what}, on its first line.`)),
    [`${name}Env`]: optional(
      text(`Environment variable with ${what}.`, "the name of a variable", /^[A-Za-z_]\w*$/),
    ),
  };
  return rows as Readonly<Record<`${Name}File` | `${Name}Env`, Setting<string | undefined>>>;
}

const ibmKeyManager = {
  region: optional(
    text(
      "IBM's region, such as us-south; with `host`, left out.",
      "a region",
      /^[a-z]{2}-[a-z]{2,10}$/,
    ),
  ),
  endpoint: choice(
    "Which of IBM's networks; `private` never falls back to the other.",
    ["private", "public"],
    "private",
  ),
  host: optional(
    text(
      "`HOST[:PORT]` in place of the region's, for a VPE gateway, VRF or a dedicated instance; `{instanceId}` stands for the instance's.",
      "a host, or a host and a port",
      /^[A-Za-z0-9{]([A-Za-z0-9.{}-]*[A-Za-z0-9}])?(:\d{1,5})?$/,
    ),
  ),
  iamHost: optional(
    text(
      "`HOST[:PORT]` of IAM in place of IBM's.",
      "a host, or a host and a port",
      /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$/,
    ),
  ),
  ca: optional(
    file("PEM file with the authorities to trust for both hosts, in place of the well-known ones."),
  ),
  instanceId: optional(text("The key manager's instance.", "a lower-case UUID", uuid)),
  rootKey: optional(
    text(
      "The root key's identifier or alias.",
      "2 to 90 letters, digits, hyphens or underscores",
      /^[A-Za-z0-9_-]{2,90}$/,
    ),
  ),
  ...secretFrom("apiKey", "the service ID's API key"),
  role: choice(
    "What the service ID must be allowed, which is checked: `manager` as IBM asks of KMIP for VMware, or `reader`, which is what is used.",
    ["manager", "reader"],
    "manager",
  ),
  deadlineMs: integer(
    "How long one call may take, its repetitions included.",
    { min: 100, max: 600_000, default: 10_000 },
    "ms",
  ),
  inFlightMax: integer("Calls at the same time; more wait.", { min: 1, max: 1024, default: 8 }),
};

/** What the group `rootOfTrust` is for. */
export const rootOfTrustDoc =
  "Who wraps the instances' key-encryption keys: what this node can reach, and which of it serves instances that name no other.";

/** The settings of `rootOfTrust`. */
export const rootOfTrustRows = {
  type: choice(
    "The kind of root of trust of instances that name none.",
    ["local", "key-protect", "hpcs", "pkcs11"],
    "local",
  ),
  file: optional(
    file(
      "`local`: the file of root key versions, made by `holdfast root init`; mode 0600, the same at every node of the region. `holdfast root rotate` adds a version that wraps from then on; nodes notice.",
    ),
  ),
  ...secretFrom("passphrase", "the passphrase that the file is encrypted under, if it is"),
  keyProtect: optionalGroup("IBM Key Protect.", {
    ...ibmKeyManager,
    keyRing: optional(text("The key ring; left out, all that the API key sees.", ...keyRingForm)),
  }),
  hpcs: optionalGroup("IBM Hyper Protect Crypto Services.", ibmKeyManager),
  pkcs11: optionalGroup("A hardware security module with a PKCS#11 module.", {
    module: file("The vendor's PKCS#11 module (a shared library)."),
    token: optional(text("The token's label.", "1 to 32 characters", /^.{1,32}$/)),
    rootKey: optional(
      text(
        "The label that all versions of the root key share; `holdfast root pkcs11-init` makes the first.",
        "1 to 64 characters",
        /^.{1,64}$/,
      ),
    ),
    ...secretFrom("pin", "the user's PIN"),
    deadlineMs: integer(
      "How long one call may take, its wait for a turn included.",
      { min: 100, max: 600_000, default: 10_000 },
      "ms",
    ),
    inFlightMax: integer("Sessions, and so calls at the same time; more wait.", {
      min: 1,
      max: 256,
      default: 8,
    }),
  }),
  secretsFolder: optional(
    file(
      "Folder with secrets that instances may name: an API key or PIN a file, on its first line. Left out, none may be named.",
    ),
  ),
  graceMs: integer(
    "How long the node goes on with keys it has opened while the root of trust cannot be reached.",
    { min: 0, max: 86_400_000, default: 3_600_000 },
    "ms",
  ),
  kekCacheMs: integer(
    "How long an opened key-encryption key stays in memory before it is validated again.",
    { min: 1000, max: 86_400_000, default: 300_000 },
    "ms",
  ),
  revalidateMs: integer(
    "How often the region's leader validates each root of trust: the key's state and the permission to use it.",
    { min: 1000, max: 86_400_000, default: 60_000 },
    "ms",
  ),
};

/** The setting `sealingKeyFile`. */
export const sealingKeyFileRow = optional(
  file(
    "The file of key versions under which this region's own secrets in the store are sealed (API keys and PINs of instances), made by `holdfast sealing-key init`; mode 0600, the same at every node of the region. Left out, such a secret can only be named in the environment or a file.",
  ),
);
