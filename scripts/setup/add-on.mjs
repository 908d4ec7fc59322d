import { existsSync } from "node:fs";
import { join } from "node:path";
import { findExecutable } from "../redis-path.mjs";
import { root, run, SetUpError, say } from "./common.mjs";
import { nodeHeaders, pnpm } from "./packages.mjs";

/** What node-gyp needs, as Debian calls it. */
export const compilerPackages = "g++ make python3";

/** Whether the add-on for PKCS#11 was compiled; the installation leaves it out where no compiler is. */
export function addOnIsThere() {
  const folder = join(root, "packages/root-of-trust/node_modules/pkcs11js");
  return existsSync(join(folder, "build/Release/pkcs11.node"));
}

/** Whether it can be. */
export function canCompile() {
  return compilerPackages.split(" ").every((name) => findExecutable(name) !== undefined);
}

/** Compiles it where it is missing; says what it needs. */
export async function bringAddOn() {
  if (addOnIsThere()) return;
  if (!canCompile()) {
    throw new SetUpError(
      `pkcs11js needs a compiler: run: sudo apt-get install -y ${compilerPackages}`,
    );
  }
  const npx = findExecutable("npx");
  if (npx === undefined) {
    throw new SetUpError("npx is not on PATH: install npm (Debian: apt-get install npm)");
  }
  say("compiling pkcs11js");
  const env = { ...process.env, CI: "true", ...nodeHeaders() };
  const args = ["-y", pnpm, "-r", "rebuild", "pkcs11js"];
  const { log, error } = await run("pkcs11js", npx, args, { env });
  if (!addOnIsThere()) {
    throw new SetUpError(`pkcs11js could not be compiled: ${error} (see ${log})`);
  }
}
