import type { RootKind } from "../kind.ts";
import {
  commonSettings,
  type KeyManagerConfigured,
  keyManagerKind,
  keyManagerSettings,
} from "./key-manager-kind.ts";
import type { HpcsSettings } from "./key-manager-settings.ts";

/** IBM Hyper Protect Crypto Services. */
export const hpcs = {
  ...keyManagerKind("hpcs", "hpcs"),
  group: { name: "hpcs", doc: "IBM Hyper Protect Crypto Services." },
  settings: keyManagerSettings,
  reference: {
    instanceId: { doc: "The Hyper Protect Crypto Services instance's identifier." },
    rootKey: { doc: "The customer root key's identifier or alias; default key ring." },
    apiKey: { secret: "API key" },
  },
  ends: {
    says: "IBM has created no new instances of Hyper Protect Crypto Services since 28 March 2026, supports it until 28 March 2027, and then deletes what is left",
    endMs: Date.UTC(2027, 2, 29),
    mend: "before that, move to Dedicated Key Protect, Key Protect or an HSM with `holdfast root-of-trust move --all --from hpcs`: see docs/root-of-trust-hpcs.md",
  },
  settingsFrom: (configured: KeyManagerConfigured): HpcsSettings => ({
    ...commonSettings("hpcs", configured),
    type: "hpcs",
  }),
} as const satisfies RootKind;
