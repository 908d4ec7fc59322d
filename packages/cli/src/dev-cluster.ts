import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { Failure, reasonOf } from "./failure.ts";

/** What `cluster.json` of a development cluster says. */
export interface DevCluster {
  readonly endpoints: readonly string[];
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

const name = "cluster.json";
const inCheckout = join(".holdfast", "dev", name);

/** The development cluster that runs around a folder, or in the checkout of this program; undefined if none does. */
export function findDevCluster(from: string): string | undefined {
  const ownCheckout = join(import.meta.dirname, "..", "..", "..");
  return [...foldersAbove(from), ownCheckout]
    .map((folder) => join(folder, inCheckout))
    .find(existsSync);
}

/** Reads `cluster.json`, or the one in a cluster's folder. */
export function readDevCluster(path: string): DevCluster {
  const given = resolve(path);
  const isFolder = existsSync(given) && statSync(given).isDirectory();
  const file = isFolder ? join(given, name) : given;
  if (!existsSync(file)) {
    throw new Failure(`${file}: no development cluster runs there; start it with \`npm start\``);
  }
  try {
    const cluster = JSON.parse(readFileSync(file, "utf8"));
    return {
      endpoints: cluster.nodes.map((node: { readonly kmip: string }) => node.kmip),
      ca: cluster.ca,
      certificate: cluster.clientCertificate,
      key: cluster.clientKey,
    };
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
