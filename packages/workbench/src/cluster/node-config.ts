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

/** What the development cluster serves IBM's API for: a Key Protect instance and its one root key. */
export const devKeyProtect = {
  instanceId: "0d1f7a52-5d0c-4c53-9a5e-0c2b6f4d9e10",
  rootKey: "7c2b1a90-3f54-4f0e-8d5b-1b6a9e3c7d21",
} as const;

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
      keyProtectApi: keyProtectSettings([node.region, ...(peer ? [peer.region.name] : [])]),
    },
    rootOfTrust: { type: "local", file: files.rootKey },
    sealingKeyFile: files.sealingKey,
    instances: [{ name: "demo", certificates: [server.clientCertificate] }],
  });
}

/** Every region's part of the root key is the region's own file. */
function keyProtectSettings(regions: readonly string[]) {
  const roots = regions.toSorted().map((region) => [region, { type: "local" }] as const);
  const rootKey = { id: devKeyProtect.rootKey, regions: Object.fromEntries(roots) };
  return { instanceId: devKeyProtect.instanceId, rootKeys: [rootKey] };
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
