import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import * as Cdx from "@cyclonedx/cyclonedx-library";
import parseExpression from "spdx-expression-parse";
import { root } from "../setup/common.mjs";
import { sourceEpoch } from "./settle.ts";

/** A package whose code is in a bundle, or next to it. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** An SPDX expression, from its manifest. */
  readonly license: string;
  readonly folder: string;
}

/** A Debian package in an image. */
export interface SystemPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** SHA-256 of its archive, in hexadecimal. */
  readonly digest: string;
}

/** The lock file of the Node programs for other systems. */
export const nodeLock = join(root, "scripts", "build", "node", "package-lock.json");

/** The packages that these files belong to, by name. Paths are below `from`; own packages are left out. */
export function packagesIn(files: readonly string[], from = root): readonly BundledPackage[] {
  const folders = files.flatMap((file) => {
    const found = /^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+(?=[\\/])/.exec(file);
    return found === null ? [] : [resolve(from, found[0])];
  });
  const packages = [...new Set(folders)].map(packageAt);
  const distinct = new Map(packages.map((each) => [`${each.name}@${each.version}`, each]));
  return [...distinct.values()].toSorted((a, b) => a.name.localeCompare(b.name, "en"));
}

/** The package in a folder. */
export function packageAt(folder: string): BundledPackage {
  const manifest: unknown = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const { name, version, license } = manifest as Record<"name" | "version" | "license", string>;
  return { name, version, license, folder };
}

/**
 * A list of packages in CycloneDX 1.6 (JSON). A package's hash is that of its archive in the registry, from the lock file. The
 * same sources and packages give the same bytes: the only time is that of the sources, and there is no serial number.
 */
export function sbomOf(
  packages: readonly BundledPackage[],
  system: readonly SystemPackage[] = [],
): string {
  const { Models, Enums, Serialize, Spec, Contrib } = Cdx;
  const own = packageAt(root);
  const digestOf = lockedDigests();
  const bom = new Models.Bom();
  bom.metadata.timestamp = new Date(sourceEpoch() * 1000);
  bom.metadata.component = new Models.Component(Enums.ComponentType.Application, own.name, {
    version: own.version,
    bomRef: `pkg:generic/${own.name}@${own.version}`,
  });
  const licenses = new Contrib.License.Factories.LicenseFactory(parseExpression);
  for (const { name, version, license } of packages) {
    const slash = name.lastIndexOf("/");
    const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
    const digest = digestOf(name, version);
    const component = new Models.Component(Enums.ComponentType.Library, name.slice(slash + 1), {
      ...(slash > 0 && { group: name.slice(0, slash) }),
      version,
      bomRef: purl,
      purl,
      ...(digest !== undefined && {
        hashes: new Models.HashDictionary([[Enums.HashAlgorithm["SHA-512"], digest]]),
      }),
    });
    component.licenses.add(licenses.makeFromString(license));
    bom.components.add(component);
  }
  for (const { name, version, architecture, digest } of system) {
    const purl = `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}`;
    const hashes = new Models.HashDictionary([[Enums.HashAlgorithm["SHA-256"], digest]]);
    const about = { version, bomRef: purl, purl, hashes };
    bom.components.add(new Models.Component(Enums.ComponentType.Library, name, about));
  }
  const normalizer = new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6);
  const serializer = new Serialize.JsonSerializer(normalizer);
  return `${serializer.serialize(bom, { sortLists: true, space: 2 })}\n`;
}

/** Reads the lock files; returns what finds the SHA-512 of a package's archive in them, in hexadecimal. */
function lockedDigests(): (name: string, version: string) => string | undefined {
  const nodes: Partial<Record<string, { readonly version: string; readonly integrity: string }>> =
    JSON.parse(readFileSync(nodeLock, "utf8")).packages;
  const lock = readFileSync(join(root, "pnpm-lock.yaml"), "utf8");
  return (name, version) => {
    const node = nodes[`node_modules/${name}`];
    const key = `\n  ${name.startsWith("@") ? `'${name}@${version}'` : `${name}@${version}`}:\n`;
    const [, found = ""] = lock.split(key);
    const locked = /^ {4}resolution: \{integrity: (sha512-[\w+/]+=*)/.exec(found)?.[1];
    const integrity = node?.version === version ? node.integrity : locked;
    if (integrity === undefined) return undefined;
    return Buffer.from(integrity.replace("sha512-", ""), "base64").toString("hex");
  };
}
