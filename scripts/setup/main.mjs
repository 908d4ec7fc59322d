import { bringAddOn } from "./add-on.mjs";
import { SetUpError, say } from "./common.mjs";
import { bringConsole } from "./console.mjs";
import { alone } from "./lock.mjs";
import { installPackages, packagesAreThere } from "./packages.mjs";
import { bringRedis, redisIsThere } from "./redis.mjs";
import { bringPrometheus } from "./services.mjs";
import { bringTestTools } from "./test-tools.mjs";

/**
 * Installs what is missing; only checks if nothing is missing.
 * @param {{ forTest: boolean, forPkcs11: boolean, forDashboards: boolean }} options
 * @returns {Promise<number>} the exit code
 */
export async function setUp({ forTest, forPkcs11, forDashboards }) {
  try {
    if (!packagesAreThere() || !redisIsThere()) {
      await alone(async () => {
        if (!packagesAreThere()) await installPackages();
        if (!redisIsThere()) await bringRedis();
      });
    }
    await bringConsole();
    if (forTest) await bringTestTools();
    if (forPkcs11) await bringAddOn();
    if (forDashboards) await bringPrometheus();
    return 0;
  } catch (error) {
    say(error instanceof SetUpError ? error.message : `stopped: ${reasonOf(error)}`);
    return 1;
  }
}

/**
 * One line for an unexpected error: a full disk, a folder without write permission.
 * @param {unknown} error
 */
function reasonOf(error) {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}
