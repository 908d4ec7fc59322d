import type { RootKey, RootOfTrust } from "@holdfast/engine";
import type { RootContext } from "./kind.ts";
import { type RootSettings, rootKind } from "./kinds.ts";

/** A root of trust that `await using` closes. */
export type OpenRoot = RootOfTrust & AsyncDisposable;

/**
 * Opens a root of trust. Each kind's code and its dependencies are loaded only when they are needed. Rejects with a
 * `RootOfTrustError` if the root of trust is already known to be unusable.
 */
export async function openRootOfTrust(
  settings: RootSettings,
  context: RootContext,
): Promise<OpenRoot> {
  const root = await rootKind(settings.type).open(settings, context);
  return Object.assign(root, { [Symbol.asyncDispose]: () => root.close() });
}

/** The root keys that these credentials can see; `settings` need not name one. */
export async function listRootKeys(
  settings: RootSettings,
  context: RootContext,
): Promise<readonly RootKey[]> {
  await using root = await openRootOfTrust(settings, context);
  return await root.rootKeys();
}
