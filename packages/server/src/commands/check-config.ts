import { RevocationLists } from "../access/crl/revocation-lists.ts";
import { loadInstances } from "../access/instances.ts";
import { readClientSecret } from "../admin/console/provider-client.ts";
import { warningsOf } from "../admin/system/warnings.ts";
import { readLogKey } from "../audit/log/log-key.ts";
import { HttpWitness } from "../audit/log/witness-client.ts";
import { checkSinkFiles } from "../audit/sinks/sink-files.ts";
import { checkBackup } from "../backup/check-backup.ts";
import { readPeerIdentity } from "../base/peer-tls.ts";
import type { Machine } from "../base/system.ts";
import { readAuthorities, readIdentity, type ServerIdentity } from "../base/tls.ts";
import { loadConfig } from "../config/config.ts";
import type { Config } from "../config/config-table.ts";
import { certificatesOf } from "../management/certificates/metric-certificates.ts";
import {
  checkRootFiles,
  openDefaultRoot,
  openSealingKey,
  rootContext,
} from "../roots/root-settings.ts";
import { storeConnection } from "../store/store-access.ts";

/** Validates a configuration and every file that it names; reports what was read, and warns of what may be wrong. */
export async function checkConfig(file: string, machine: Machine): Promise<readonly string[]> {
  const config = loadConfig(file);
  const { environment, clock, ids } = machine;
  const { region, node, peer } = config;
  const identity = readIdentity(config.tls);
  const peerIdentity = peer && readPeerIdentity(peer, config);
  const admin = checkAdmin(config.admin);
  storeConnection(config.store, environment);
  checkSinkFiles(config.audit, environment);
  if (config.audit.log !== undefined) readLogKey(config.audit.log);
  for (const witness of config.audit.log?.witnesses ?? []) new HttpWitness(witness);
  const instances = loadInstances(config.instances);
  await checkRootFiles(config, environment);
  await (await openDefaultRoot(config, environment, rootContext(machine))).close();
  await (await openSealingKey(config, ids))?.close();
  await checkBackup(config.backup);
  const lists = await checkLists(config.crls, clock);
  const certificates = certificatesOf(identity, instances, peerIdentity, admin);
  const other = peer === undefined ? "alone" : `with region ${peer.region}`;
  return [
    `${file}: good (region ${region} ${other}, node ${node}, ${instances.length} instances)`,
    ...warningsOf(config, certificates, clock.wallMs()).map(
      ({ message, fields }) => `warning: ${message}${details(fields ?? {})}`,
    ),
    ...lists.map((one) => `warning: ${one}`),
  ];
}

/** Reads the files of revocation lists; distribution points are not asked. */
async function checkLists(crls: Config["crls"], { wallMs, monotonicMs }: Machine["clock"]) {
  const files = crls.map((one) => ({ ...one, urls: [] }));
  const observe = (): void => undefined;
  using lists = new RevocationLists(files, { wallMs, monotonicMs, random: () => 0, observe });
  await lists.reload();
  return lists.list().flatMap(({ source, fault, inTime }) => {
    if (fault !== "") return [`crls: ${source}: ${fault}`];
    return inTime ? [] : [`crls: ${source}: the list has ended: get a newer one`];
  });
}

function checkAdmin(admin: Config["admin"]): ServerIdentity | undefined {
  if (admin === undefined) return undefined;
  if (admin.oidc?.ca !== undefined) readAuthorities(admin.oidc.ca, "admin.oidc.ca");
  for (const { ca } of admin.console.vcenters) {
    if (ca !== undefined) readAuthorities(ca, "admin.console.vcenters.ca");
  }
  readClientSecret(admin.console.signIn?.clientSecretFile);
  return readIdentity({ ...admin.tls, suites: "default" }, "admin.tls");
}

function details(fields: Readonly<Record<string, unknown>>): string {
  const pairs = Object.entries(fields).map(([name, value]) => `${name} ${value}`);
  return pairs.length === 0 ? "" : ` (${pairs.join(", ")})`;
}
