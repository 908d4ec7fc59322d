import { getFips, hash } from "node:crypto";
import { OperatorError } from "./operator-error.ts";

/** The variable in which `enterFipsMode` gives the provider's name and version to the process that it starts. */
export const providerVariable = "HOLDFAST_FIPS_PROVIDER";

/** Whether this process was told to use OpenSSL's FIPS provider; `checkFipsMode` says whether it does. */
export function isFipsMode(): boolean {
  return getFips() === 1;
}

/**
 * Throws an `OperatorError` unless this process really runs with OpenSSL's FIPS provider: `getFips` alone is 1 even where no
 * such provider is loaded, and 0 where it is loaded and not enforced.
 */
export function checkFipsMode(): void {
  const why = refusal();
  if (why === undefined) return;
  throw new OperatorError(
    `fips: required, but ${why}; install openssl and openssl-provider-fips, and start the node by the command \`holdfast\`, without Node options of your own for OpenSSL (docs/fips.md)`,
  );
}

function refusal(): string | undefined {
  if (!isFipsMode()) return "this process does not run in FIPS mode";
  if (hashes("md5")) return "this process accepts MD5, so that the FIPS provider is not in force";
  return hashes("sha256") ? undefined : "this process has no FIPS provider: SHA-256 fails";
}

function hashes(algorithm: string): boolean {
  try {
    hash(algorithm, "");
    return true;
  } catch {
    return false;
  }
}
