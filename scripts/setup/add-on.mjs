import { existsSync } from "node:fs";
import { join } from "node:path";
import { findExecutable } from "../redis-path.mjs";
import { root, SetUpError, say } from "./common.mjs";
import { runPnpm } from "./packages.mjs";

/** The Debian packages that node-gyp needs. */
export const compilerPackages = "g++ make python3";

/** Whether the add-on for PKCS#11 was compiled; the installation skips it if there is no compiler. */
export function addOnIsThere() {
  const folder = join(root, "packages/root-of-trust/node_modules/pkcs11js");
  return existsSync(join(folder, "build/Release/pkcs11.node"));
}

/** Whether it can be compiled. */
export function canCompile() {
  return compilerPackages.split(" ").every((name) => findExecutable(name) !== undefined);
}

/** Compiles it if it is missing; throws a `SetUpError` that names what is needed. */
export async function bringAddOn() {
  if (addOnIsThere()) return;
  if (!canCompile()) {
    throw new SetUpError(
      `pkcs11js needs a compiler: run: sudo apt-get install -y ${compilerPackages}`,
    );
  }
  say("compiling pkcs11js");
  const { log, error } = await runPnpm("pkcs11js", ["-r", "rebuild", "pkcs11js"]);
  if (!addOnIsThere()) {
    throw new SetUpError(`pkcs11js could not be compiled: ${error} (see ${log})`);
  }
}
