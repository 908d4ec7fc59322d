import type { RootKey, RootOfTrust } from "@holdfast/engine";
import type { RootContext } from "./kind.ts";
import { type RootSettings, rootKind } from "./kinds.ts";

/** A root of trust that `await using` closes. */
export type OpenRoot = RootOfTrust & AsyncDisposable;

/**
 * Opens a root of trust; each kind's code, and what it depends on, is loaded only when it is asked for. Rejects with a
 * `RootOfTrustError` where it is already known that it would not serve.
 */
export async function openRootOfTrust(
  settings: RootSettings,
  context: RootContext,
): Promise<OpenRoot> {
  const root = await rootKind(settings.type).open(settings, context);
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
