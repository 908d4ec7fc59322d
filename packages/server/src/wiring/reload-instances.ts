import { type Instance, loadInstances } from "../access/instances.ts";
import { reasonOf } from "../base/operator-error.ts";
import { loadConfig } from "../config/config.ts";
import type { Config } from "../config/config-table.ts";
import type { Log } from "../observe/log.ts";

/**
 * Reads the instances of the configuration again and makes new ones known. Where that cannot be done, answers undefined
 * and logs why. Other settings take effect at the next start, and the log says so.
 */
export async function reloadInstances(
  configFile: string,
  inUse: Config,
  ensure: (instances: readonly Instance[]) => Promise<void>,
  log: Log,
): Promise<readonly Instance[] | undefined> {
  try {
    const config = loadConfig(configFile);
    const instances = loadInstances(config.instances);
    await ensure(instances);
    const rest = (one: Config) => JSON.stringify({ ...one, instances: [] });
    if (rest(config) !== rest(inUse)) {
      log.say("warn", "settings other than instances have changed; restart to use them");
    }
    log.say("info", "instances reloaded", { instances: instances.map(({ name }) => name) });
    return instances;
  } catch (error) {
    log.say("warn", `instances are kept as they were: ${reasonOf(error)}`);
    return undefined;
  }
}
