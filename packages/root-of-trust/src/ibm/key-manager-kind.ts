import type {
  AnyValues,
  Configured,
  KindSettings,
  KindValues,
  RootContext,
  SecretSource,
} from "../kind.ts";
import type { AnyIbmSettings } from "./key-manager-settings.ts";
import { type KeyManagerType, keyManagerUrls } from "./key-manager-urls.ts";

const hostPort = "a host, or a host and a port";

/** The settings that IBM's key managers have in common. */
export const keyManagerSettings = {
  region: {
    text: /^[a-z]{2}-[a-z]{2,10}$/,
    expects: "a region",
    doc: "IBM's region, such as us-south; not needed with `host`.",
    optional: true,
  },
  endpoint: {
    choice: ["private", "public"],
    doc: "Which of IBM's networks; `private` never falls back to the other.",
  },
  host: {
    text: /^[A-Za-z0-9{]([A-Za-z0-9.{}-]*[A-Za-z0-9}])?(:\d{1,5})?$/,
    expects: hostPort,
    doc: "`HOST[:PORT]` in place of the region's, for a VPE gateway, VRF or a dedicated instance; `{instanceId}` is replaced by the instance's.",
    optional: true,
  },
  iamHost: {
    text: /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$/,
    expects: hostPort,
    doc: "`HOST[:PORT]` of IAM in place of IBM's.",
    optional: true,
  },
  ca: {
    file: "certificates",
    doc: "PEM file with the authorities to trust for both hosts, in place of the well-known ones.",
    optional: true,
  },
  instanceId: {
    text: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
    expects: "a lower-case UUID",
    doc: "The key manager's instance.",
    optional: true,
  },
  rootKey: {
    text: /^[A-Za-z0-9_-]{2,90}$/,
    expects: "2 to 90 letters, digits, hyphens or underscores",
    doc: "The root key's identifier or alias.",
    optional: true,
  },
  apiKey: { secret: "the service ID's API key" },
  role: {
    choice: ["manager", "reader"],
    doc: "The role that the service ID must have, which is checked: `manager`, as IBM requires for KMIP for VMware, or `reader`, which is all that Holdfast uses.",
  },
  deadlineMs: {
    // A KMIP client must get its answer within a minute.
    integer: { min: 100, max: 45_000, default: 10_000 },
    unit: "ms",
    doc: "How long one call may take, including retries.",
  },
  inFlightMax: {
    integer: { min: 1, max: 1024, default: 8 },
    doc: "Maximum number of concurrent calls; further calls wait.",
  },
} as const satisfies KindSettings;

/** What these kinds have in common. */
export function keyManagerKind<Type extends KeyManagerType>(type: Type, group: string) {
  return {
    kind: type,
    holder: { field: "instanceId", word: "instance", ownSecret: false },
    onNode: false,
    faults: ({ region, host }: AnyValues) =>
      region === undefined && host === undefined
        ? [
            {
              setting: "region",
              says: `is missing: set it, or host; where ${type} is reached follows from it`,
            },
          ]
        : [],
    place: ({ rootKey, instanceId }: AnyValues) =>
      [group, `root key ${rootKey} of instance ${instanceId}`] as const,
    async open(settings: AnyIbmSettings, context: RootContext) {
      const { openKeyManager } = await import("./key-manager-root.ts");
      return openKeyManager(settings, context);
    },
    unregistered:
      "IBM does not know that Holdfast uses the root key, since only IBM's own services can register a use: IBM deletes it if asked, and then every key under it is lost",
    rotateElsewhere:
      "rotate it in IBM Cloud (ibmcloud kp key rotate); nodes notice when they validate it again",
  };
}

/** The input for the settings of each kind. */
export type KeyManagerConfigured = Configured<KindValues<typeof keyManagerSettings>, SecretSource>;

/** The settings of each kind, without type and key ring. */
export function commonSettings(
  type: KeyManagerType,
  { values, holder, named, secret }: KeyManagerConfigured,
) {
  const { ca, role, deadlineMs, inFlightMax, ...place } = values;
  const { rootKey } = named;
  return {
    ...keyManagerUrls({ ...place, type, instanceId: holder }),
    instanceId: holder,
    apiKey: secret,
    role,
    deadlineMs,
    inFlightMax,
    ...(rootKey !== undefined && { rootKey }),
    ...(ca !== undefined && { ca }),
  };
}
