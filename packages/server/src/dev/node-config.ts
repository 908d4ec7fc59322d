import { join } from "node:path";
import { stringify } from "yaml";
import { type Address, printAddress } from "../address.ts";
import type { Folder } from "./folder.ts";
import type { PkiFiles } from "./pki.ts";
import { nodePasswordFile, nodeUser, type RedisPorts, redisHost } from "./redis.ts";

/** A node of the development cluster. */
export interface DevNode {
  readonly region: string;
  readonly name: string;
  readonly kmip: Address;
  readonly http: Address;
  readonly health: Address;
}

/** The nodes of one region, each on an address of its own. */
export function devNodes(
  addresses: readonly string[],
  ports: { readonly kmip: number; readonly http: number; readonly health: number },
): readonly DevNode[] {
  return addresses.map((host, at) => ({
    region: "a",
    name: `a${at + 1}`,
    kmip: { host, port: ports.kmip },
    http: { host, port: ports.http },
    health: { host, port: ports.health },
  }));
}

/** Where a node's configuration lies. */
export function nodeConfigFile(folder: Folder, node: DevNode): string {
  return join(folder.nodes, `${node.name}.yaml`);
}

/** A node's configuration as YAML. */
export function nodeConfig(
  folder: Folder,
  node: DevNode,
  pki: PkiFiles,
  redis: RedisPorts,
): string {
  const at = (port: number) => printAddress({ host: redisHost, port });
  return stringify({
    region: node.region,
    node: node.name,
    kmip: { listen: printAddress(node.kmip) },
    http: { listen: printAddress(node.http) },
    health: { listen: printAddress(node.health) },
    tls: {
      certificate: pki.serverCertificate,
      key: pki.serverKey,
      ticketKeysFile: pki.ticketKeys,
    },
    store: {
      address: at(redis.primary),
      username: nodeUser,
      passwordFile: nodePasswordFile(folder),
      replicas: 1,
    },
    locks: [`redis://${at(redis.lock)}`],
    rootOfTrust: { type: "local", file: pki.rootKey },
    instances: [{ name: "demo", certificates: [pki.clientCertificate] }],
  });
}
