import type { HpcsSettings, KeyProtectSettings, RootContext } from "../settings.ts";
import { KeyManagerRoot } from "./key-manager-root.ts";
import { checkSettings } from "./key-manager-settings.ts";

/** Opens a root key in Key Protect; rejects a setting that cannot be, and asks nothing of the network yet. */
export async function openKeyProtect(
  settings: KeyProtectSettings,
  context: RootContext,
): Promise<KeyManagerRoot> {
  return new KeyManagerRoot(checkSettings(settings), context);
}

/** Opens a root key in Hyper Protect Crypto Services, in the same way. */
export async function openHpcs(
  settings: HpcsSettings,
  context: RootContext,
): Promise<KeyManagerRoot> {
  return new KeyManagerRoot(checkSettings(settings), context);
}
