import { loadConfig } from "./config.ts";
import { loadInstances } from "./instances.ts";
import { certificatesOf } from "./metric-certificates.ts";
import { openRootFile } from "./root-check.ts";
import { storeConnection } from "./store-access.ts";
import { systemClock } from "./system.ts";
import { readIdentity, readTicketSecret } from "./tls.ts";

/** Validates a configuration and every file that it names; tells what was read, and which certificates have ended. */
export async function checkConfig(
  file: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<readonly string[]> {
  const config = loadConfig(file);
  const identity = readIdentity(config.tls);
  readTicketSecret(config.tls.ticketKeysFile);
  storeConnection(config.store, environment);
  const instances = loadInstances(config.instances);
  await openRootFile(config.rootOfTrust.file);
  const nowMs = systemClock.wallMs();
  const ended = certificatesOf(identity, instances).filter(({ notAfterMs }) => notAfterMs < nowMs);
  return [
    `${file}: good (region ${config.region}, node ${config.node}, ${instances.length} instances)`,
    ...ended.map(
      ({ kind, owner, subject, notAfterMs }) =>
        `warning: the ${kind} certificate ${subject} (${owner}) has ended at ${new Date(notAfterMs).toISOString()}: issue a new one`,
    ),
  ];
}
