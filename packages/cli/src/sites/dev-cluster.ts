import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { Failure, reasonOf } from "../terminal/failure.ts";

/** What a KMIP client needs from the `cluster.json` of a development cluster. */
export interface DevCluster {
  readonly endpoints: readonly string[];
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

const name = "cluster.json";
const inCheckout = join(".holdfast", "dev", name);

/** The cluster file of the checkout around a folder, or of this program's; undefined if missing. */
export function findDevCluster(from: string): string | undefined {
  const ownCheckout = join(import.meta.dirname, "..", "..", "..", "..");
  return [...foldersAbove(from), ownCheckout]
    .map((folder) => join(folder, inCheckout))
    .find(existsSync);
}

/** What a command of the management API takes from a development cluster. */
export interface DevSite {
  readonly urls: readonly string[];
  readonly ca: string;
  readonly tokenFile: string;
}

/** Reads a `cluster.json`, given as the file or as the cluster's folder. */
export function readDevCluster(path: string): DevCluster {
  return readCluster(path, (cluster) => ({
    endpoints: cluster.nodes.map(({ kmip }) => kmip),
    ca: cluster.ca,
    certificate: cluster.clientCertificate,
    key: cluster.clientKey,
  }));
}

/** Reads the same file for the management API. */
export function readDevSite(path: string): DevSite {
  return readCluster(path, (cluster) => ({
    urls: cluster.nodes.map(({ admin }) => `https://${admin}`),
    ca: cluster.ca,
    tokenFile: cluster.managerToken,
  }));
}

/** Where a node shows its metrics, and its names. */
export interface NodeMetrics {
  readonly url: string;
  readonly region: string;
  readonly node: string;
}

/** Reads the same file for the metrics of its nodes. */
export function readDevMetrics(path: string): readonly NodeMetrics[] {
  return readCluster(path, ({ nodes }) =>
    nodes.map(({ http, region, node }) => ({ url: `http://${http}`, region, node })),
  );
}

/** The part of the file that is read here; the cluster that writes the file checks the rest. */
interface ClusterFile {
  readonly nodes: readonly {
    readonly kmip: string;
    readonly admin: string;
    readonly http: string;
    readonly region: string;
    readonly node: string;
  }[];
  readonly ca: string;
  readonly clientCertificate: string;
  readonly clientKey: string;
  readonly managerToken: string;
}

function readCluster<Result>(path: string, pick: (cluster: ClusterFile) => Result): Result {
  const given = resolve(path);
  const isFolder = existsSync(given) && statSync(given).isDirectory();
  const file = isFolder ? join(given, name) : given;
  if (!existsSync(file)) {
    throw new Failure(`${file}: no development cluster runs there; start it with \`npm start\``);
  }
  try {
    return pick(JSON.parse(readFileSync(file, "utf8")));
  } catch (error) {
    throw new Failure(`${file}: cannot be read: ${reasonOf(error)}; start the cluster again`);
  }
}

function foldersAbove(from: string): readonly string[] {
  const folders = [resolve(from)];
  for (;;) {
    const last = folders.at(-1) ?? "/";
    const parent = dirname(last);
    if (parent === last) return folders;
    folders.push(parent);
  }
}
