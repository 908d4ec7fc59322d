import type { AnyValues, RootKind } from "../kind.ts";
import { commonSettings, type KeyManagerConfigured, keyManagerKind } from "./key-manager-kind.ts";
import type { DedicatedKeyProtectSettings } from "./key-manager-settings.ts";
import { privateHostMissing } from "./key-manager-urls.ts";
import { keyProtect } from "./key-protect.ts";

const common = keyManagerKind("dedicated-key-protect", "dedicatedKeyProtect");

/** IBM Key Protect Dedicated, the successor of HPCS: the API of Key Protect, with a host name for each instance. */
export const dedicatedKeyProtect = {
  ...common,
  group: { name: "dedicatedKeyProtect", doc: "IBM Key Protect Dedicated." },
  settings: keyProtect.settings,
  reference: {
    ...keyProtect.reference,
    instanceId: { doc: "The Dedicated Key Protect instance's identifier." },
  },
  faults: (values: AnyValues) =>
    values["host"] === undefined &&
    values["region"] !== undefined &&
    values["endpoint"] !== "public"
      ? [{ setting: "endpoint", says: `is private: ${privateHostMissing}` }]
      : common.faults(values),
  settingsFrom(configured: KeyManagerConfigured): DedicatedKeyProtectSettings {
    const { keyRing } = configured.named;
    const type = "dedicated-key-protect";
    return { ...commonSettings(type, configured), type, ...(keyRing !== undefined && { keyRing }) };
  },
} as const satisfies RootKind;
