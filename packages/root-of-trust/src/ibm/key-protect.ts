import type { KindSettings, RootKind } from "../kind.ts";
import {
  commonSettings,
  type KeyManagerConfigured,
  keyManagerKind,
  keyManagerSettings,
} from "./key-manager-kind.ts";
import type { KeyProtectSettings } from "./key-manager-settings.ts";

const settings = {
  ...keyManagerSettings,
  keyRing: {
    text: /^[A-Za-z0-9-]{2,100}$/,
    expects: "2 to 100 letters, digits or hyphens",
    doc: "The key ring; by default all that the API key can see.",
    optional: true,
  },
} as const satisfies KindSettings;

/** IBM Key Protect. */
export const keyProtect = {
  ...keyManagerKind("key-protect", "keyProtect"),
  group: { name: "keyProtect", doc: "IBM Key Protect." },
  settings,
  reference: {
    instanceId: { doc: "The Key Protect instance's identifier." },
    keyRing: { optional: true },
    rootKey: { doc: "The customer root key's identifier or alias." },
    apiKey: {
      secret: "API key",
      doc: "API key of the service ID: Viewer and Manager on the instance.",
    },
  },
  settingsFrom(configured: KeyManagerConfigured): KeyProtectSettings {
    const { keyRing } = configured.named;
    const common = commonSettings("key-protect", configured);
    return { ...common, type: "key-protect", ...(keyRing !== undefined && { keyRing }) };
  },
} as const satisfies RootKind;
