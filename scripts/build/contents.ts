import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import * as Cdx from "@cyclonedx/cyclonedx-library";
import parseExpression from "spdx-expression-parse";
import { root } from "../setup/common.mjs";

/** A package whose code is in a bundle, or next to it. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** An SPDX expression, from its manifest. */
  readonly license: string;
  readonly folder: string;
}

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

/** A list of packages in CycloneDX 1.6 (JSON). */
export function sbomOf(packages: readonly BundledPackage[]): string {
  const { Models, Enums, Serialize, Spec, Contrib } = Cdx;
  const own = packageAt(root);
  const bom = new Models.Bom();
  bom.metadata.component = new Models.Component(Enums.ComponentType.Application, own.name, {
    version: own.version,
    bomRef: `pkg:generic/${own.name}@${own.version}`,
  });
  const licenses = new Contrib.License.Factories.LicenseFactory(parseExpression);
  for (const { name, version, license } of packages) {
    const slash = name.lastIndexOf("/");
    const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
    const component = new Models.Component(Enums.ComponentType.Library, name.slice(slash + 1), {
      ...(slash > 0 && { group: name.slice(0, slash) }),
      version,
      bomRef: purl,
      purl,
    });
    component.licenses.add(licenses.makeFromString(license));
    bom.components.add(component);
  }
  const normalizer = new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6);
  const serializer = new Serialize.JsonSerializer(normalizer);
  return `${serializer.serialize(bom, { sortLists: true, space: 2 })}\n`;
}

/** The licence texts of packages, one after another. */
export function licencesOf(packages: readonly BundledPackage[]): string {
  const parts = packages.map(({ name, version, license, folder }) => {
    const files = readdirSync(folder).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
    const texts = files.map((file) => readFileSync(join(folder, file), "utf8").trim());
    return [`${name} ${version} (${license})`, "", ...texts].join("\n");
  });
  return `${parts.join(`\n\n${"-".repeat(72)}\n\n`)}\n`;
}
