import { loadConfig } from "./config.ts";
import { loadInstances } from "./instances.ts";
import { storeConnection } from "./store-access.ts";
import { readIdentity, readTicketSecret } from "./tls.ts";

/** Validates a configuration and reads every file that it names, but the root of trust's; tells what was read. */
export function checkConfig(
  file: string,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  const config = loadConfig(file);
  readIdentity(config.tls);
  readTicketSecret(config.tls.ticketKeysFile);
  storeConnection(config.store, environment);
  const instances = loadInstances(config.instances);
  return `${file}: good (region ${config.region}, node ${config.node}, ${instances.length} instances)`;
}
