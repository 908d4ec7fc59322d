import { join } from "node:path";
import { printAddress } from "@holdfast/server/base";
import { stringify } from "yaml";
import type { Folder } from "../base/folder.ts";
import { nodePasswordFile, nodeUser, type RegionRedis, redisHost } from "../redis/redis.ts";
import type { PeerFiles, RegionFiles, ServerFiles } from "./pki.ts";
import type { DevNode, DevRegion } from "./plan.ts";

/** The input for a node's configuration. */
export interface NodeSettings {
  readonly redis: RegionRedis;
  readonly server: ServerFiles;
  readonly files: RegionFiles;
  /** Addresses where clients connect in its region. */
  readonly endpoints: readonly string[];
  /** The file to which the node writes its one-time token while there is no other token. */
  readonly bootstrapFile: string;
  /** Addresses of the web console at all nodes. */
  readonly consoles: readonly string[];
  /** Where one-time links of the console are kept. */
  readonly signInFolder: string;
  /** Where the console's switches of a development cluster lead. */
  readonly controlSocket: string;
  /** Absent in a cluster with only one region. */
  readonly peer?: {
    readonly region: DevRegion;
    readonly ca: string;
    readonly own: PeerFiles;
    /** The public half of that region's key. */
    readonly key: string;
  };
}

/** The path of a node's configuration. */
export function nodeConfigFile(folder: Folder, node: DevNode): string {
  return join(folder.nodes, `${node.name}.yaml`);
}

/** A node's configuration as YAML. */
export function nodeConfig(
  node: DevNode,
  {
    redis,
    server,
    files,
    bootstrapFile,
    endpoints,
    consoles,
    signInFolder,
    controlSocket,
    peer,
  }: NodeSettings,
): string {
  const at = (port: number) => printAddress({ host: redisHost, port });
  return stringify({
    region: node.region,
    node: node.name,
    kmip: { listen: printAddress(node.kmip), endpoints },
    http: { listen: printAddress(node.http) },
    health: { listen: printAddress(node.health) },
    tls: {
      certificate: [server.serverCertificate, server.serverRsaCertificate],
      key: [server.serverKey, server.serverRsaKey],
    },
    store: {
      address: at(redis.ports.primary),
      username: nodeUser,
      passwordFile: nodePasswordFile(redis.folder),
      replicas: 1,
      memoryFile: `${node.name}.memory`,
    },
    locks: [`redis://${at(redis.ports.lock)}`],
    ...(peer === undefined ? {} : { peer: peerSettings(node, files, peer) }),
    admin: {
      listen: printAddress(node.admin),
      tls: { certificate: server.serverCertificate, key: server.serverKey },
      bootstrapFile,
      console: { nodes: consoles, signInFolder, controlSocket },
    },
    rootOfTrust: { type: "local", file: files.rootKey },
    sealingKeyFile: files.sealingKey,
    instances: [{ name: "demo", certificates: [server.clientCertificate] }],
  });
}

function peerSettings(
  node: DevNode,
  files: RegionFiles,
  { region, ca, own, key }: Required<NodeSettings>["peer"],
) {
  return {
    region: region.name,
    addresses: region.nodes.map(({ line }) => printAddress(line)),
    listen: printAddress(node.peer),
    tls: { ca, certificate: own.certificate, key: own.key },
    regionKeyFile: files.regionKey,
    keys: [key],
  };
}
