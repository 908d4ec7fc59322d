import type { RootKey, RootOfTrust } from "@holdfast/engine";
import type { RootContext, RootSettings } from "./settings.ts";

/** A root of trust that `await using` closes. */
export type OpenRoot = RootOfTrust & AsyncDisposable;

/**
 * Opens a root of trust; each kind's code, and what it depends on, is loaded only when it is asked for. Rejects with a
 * `RootOfTrustError` where it can be told now that it would not serve.
 */
export async function openRootOfTrust(
  settings: RootSettings,
  context: RootContext,
): Promise<OpenRoot> {
  const root = await open(settings, context);
  return Object.assign(root, { [Symbol.asyncDispose]: () => root.close() });
}

/** The root keys that these credentials see; `settings` need not name one. */
export async function listRootKeys(
  settings: RootSettings,
  context: RootContext,
): Promise<readonly RootKey[]> {
  await using root = await openRootOfTrust(settings, context);
  return await root.rootKeys();
}

async function open(settings: RootSettings, context: RootContext): Promise<RootOfTrust> {
  switch (settings.type) {
    case "local": {
      const { file: path, passphrase } = settings;
      const { openLocalRoot } = await import("./local/local-root.ts");
      return await openLocalRoot({ path, ...(passphrase && { passphrase }) }, context.ids);
    }
    case "key-protect": {
      const { openKeyProtect } = await import("./ibm/open-key-manager.ts");
      return await openKeyProtect(settings, context);
    }
    case "hpcs": {
      const { openHpcs } = await import("./ibm/open-key-manager.ts");
      return await openHpcs(settings, context);
    }
    case "pkcs11": {
      const { openPkcs11 } = await import("./pkcs11/pkcs11-root.ts");
      return await openPkcs11(settings, context);
    }
  }
}
