import type { Handle, PKCS11 } from "pkcs11js";
import { isDone, textOf } from "./codes.ts";
import { TokenFailure } from "./faults.ts";

export type { Handle };

/** The add-on's exports: the class, and the constants of PKCS#11. */
type Native = typeof import("pkcs11js");

/** A vendor's module, initialised, and the add-on that calls it. */
export interface Library {
  readonly native: Native;
  readonly calls: PKCS11;
}

/** Loads the optional package, and with it a vendor's module, and initialises the module. Call once per process. */
export async function loadLibrary(module: string): Promise<Library> {
  const native = await loadAddOn();
  const calls = new native.PKCS11();
  try {
    calls.load(module);
  } catch (error) {
    throw unusable(`module ${module} cannot be loaded: ${textOf(error)}`);
  }
  try {
    // Calls come from several threads at the same time; the module must do the locking (CKF_OS_LOCKING_OK).
    calls.C_Initialize({ flags: native.CKF_OS_LOCKING_OK });
  } catch (error) {
    if (!isDone(error)) throw unusable(`module ${module} does not start: ${textOf(error)}`);
  }
  return { native, calls };
}

async function loadAddOn(): Promise<Native> {
  try {
    const loaded: Native & { readonly default?: Native } = await import("pkcs11js");
    return loaded.default ?? loaded;
  } catch {
    throw unusable(
      "the optional package pkcs11js is not built here: install a C++ compiler, make and python3 (Debian: apt-get install g++ make python3), then run in its folder: node scripts/setup.mjs --for=pkcs11",
    );
  }
}

/** A failure that only an operator can resolve. It closes no open keys, so it is not a refusal. */
function unusable(what: string): TokenFailure {
  return new TokenFailure("unavailable", `PKCS#11: ${what}`);
}
