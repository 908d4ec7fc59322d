import type { RootOfTrust } from "@holdfast/engine";
import type { Machine } from "../base/system.ts";
import type { Config } from "../config/config-table.ts";
import { openDefaultRoot, rootContext } from "./root-settings.ts";

/** The configured root of trust, for a command; disposing closes it. */
export type CommandRoot = RootOfTrust & AsyncDisposable;

/** Opens the configured root of trust for a command; throws an `OperatorError` that says what is wrong with it. */
export async function openCommandRoot(config: Config, machine: Machine): Promise<CommandRoot> {
  const root = await openDefaultRoot(config, machine.environment, rootContext(machine));
  return Object.assign(root, { [Symbol.asyncDispose]: () => root.close() });
}
