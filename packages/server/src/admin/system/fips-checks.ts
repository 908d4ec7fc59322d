import { isFipsMode } from "../../base/fips.ts";
import { type Check, ok, type SystemSources, warning } from "./sources.ts";

const namesMax = 5;

/** Says whether the node runs with OpenSSL's FIPS provider, and what is in use that it refuses. */
export async function fipsChecks({ fips, scryptUsers }: SystemSources): Promise<Check[]> {
  const name = "fips";
  const users = await scryptUsers();
  const { openssl } = process.versions;
  const many = `${users.length === 1 ? "1 user has" : `${users.length} users have`} a scrypt hash`;
  if (!isFipsMode()) {
    const later = users.length === 0 ? "" : `; ${many}, which FIPS mode would refuse`;
    return [ok(name, `off: OpenSSL ${openssl} without its FIPS provider${later}`)];
  }
  const mode = ok(
    name,
    `on: OpenSSL ${openssl} with ${fips ?? "the FIPS provider of your own Node options"}`,
  );
  if (users.length === 0) return [mode];
  const shown = users.slice(0, namesMax).join(", ");
  const more = users.length > namesMax ? ", …" : "";
  const mend =
    "set the password again: `holdfast user set`, or `hash-password --for-fips` for a user of the configuration";
  return [mode, warning(name, `${many} and cannot log in: ${shown}${more}`, mend)];
}
