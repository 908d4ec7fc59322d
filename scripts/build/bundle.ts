import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { build, type Metafile, type Plugin } from "esbuild";
import { root } from "../setup/common.mjs";
import { buildConsole } from "../setup/console.mjs";
import {
  type BundledPackage,
  packageAt,
  packagesIn,
  type SystemPackage,
  sbomOf,
} from "./contents.ts";
import { licencesOf, refuseLicences } from "./licences.ts";

interface Bundle {
  /** By path in the bundle's folder. */
  readonly files: ReadonlyMap<string, Buffer>;
  readonly packages: readonly BundledPackage[];
}

/** By the folder of the sources: a process that makes several kinds of packages bundles the sources once. */
const bundles = new Map<string, Bundle>();

/**
 * Bundles the sources in `from` into `folder`: `holdfast.mjs`, the process for a PKCS#11 token (`host-main.mjs`), the
 * chunks that both load on demand, source maps, the Redis scripts, and the web console. Returns the packages in the bundle.
 */
export async function makeBundle(folder: string, from = root): Promise<readonly BundledPackage[]> {
  const earlier = bundles.get(from);
  if (earlier !== undefined) {
    writeFiles(folder, earlier.files);
    return earlier.packages;
  }
  const sources = await bundleCode(folder, from);
  const packages = packagesIn([...sources, ...(await addConsole(folder, from))], from);
  bundles.set(from, { files: filesIn(folder), packages });
  return packages;
}

function filesIn(folder: string): ReadonlyMap<string, Buffer> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  return new Map(paths.map((path) => [relative(folder, path), readFileSync(path)]));
}

/** Replaces a folder. */
function writeFiles(folder: string, files: Bundle["files"]): void {
  rmSync(folder, { recursive: true, force: true });
  for (const [path, content] of files) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

/** Bundles all but the web console; returns the files that the bundle is made from. */
export async function bundleCode(folder: string, from = root): Promise<readonly string[]> {
  rmSync(folder, { recursive: true, force: true });
  const { metafile, outputFiles } = await build({
    absWorkingDir: from,
    entryPoints: {
      holdfast: "packages/cli/src/main.ts",
      "host-main": "packages/root-of-trust/src/pkcs11/host-main.ts",
    },
    // Source maps name the sources relative to this folder. The files may be written to another one.
    outdir: join(from, "dist", "bundle"),
    write: false,
    outExtension: { ".js": ".mjs" },
    // All files go into one folder: the code looks for the Redis scripts next to itself.
    chunkNames: "[name]-[hash]",
    bundle: true,
    // Splitting, so that `holdfast --version` need not read what only `serve` uses.
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node24",
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    sourcemap: true,
    sourcesContent: false,
    // A native add-on, and what only a checkout has.
    external: ["pkcs11js", workbench],
    // Names that CommonJS packages expect.
    banner: {
      js: [
        'import { createRequire } from "node:module";',
        "const require = createRequire(import.meta.url);",
        // They look for their files two folders above.
        'const __dirname = import.meta.dirname + "/package/build/src";',
      ].join(""),
    },
    alias: ownPackages(from),
    plugins: [englishOnly],
    metafile: true,
    logLevel: "warning",
  });
  mkdirSync(folder, { recursive: true });
  for (const { path, contents } of outputFiles) {
    writeFileSync(join(folder, basename(path)), contents);
  }
  const whole = { recursive: true };
  cpSync(join(from, "packages/redis/src/connection/lua"), join(folder, "lua"), whole);
  const health = join(root, "packages/server/node_modules/grpc-health-check");
  cpSync(join(health, "proto"), join(folder, "package", "proto"), whole);
  return filesOf(metafile);
}

/** Builds the web console into the bundle; returns the files that it is made from. */
async function addConsole(folder: string, from: string): Promise<readonly string[]> {
  const home = join(from, "packages", "console");
  // An earlier version may have none.
  if (!existsSync(home)) return [];
  const to = join(folder, "console");
  const { ok, error } = await buildConsole(to, from);
  if (!ok) throw new Error(`the web console could not be built: ${error}`);
  const map = join(to, "console.js.map");
  const { sources } = JSON.parse(readFileSync(map, "utf8")) as { readonly sources: string[] };
  // Its paths depend on where the bundle is built.
  rmSync(map);
  const styles = join(home, "node_modules", "@clr", "ui", "package.json");
  return [styles, ...sources.map((source) => resolve(to, source))];
}

/**
 * Writes the files for a bundle that are not code: licences and the list of its packages (CycloneDX). Refuses a package whose
 * licence is not allowed.
 */
export function writeContents(
  folder: string,
  packages: readonly BundledPackage[],
  system: readonly SystemPackage[] = [],
): void {
  refuseLicences(packages);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "sbom.cdx.json"), sbomOf(packages, system));
  writeFileSync(join(folder, "THIRD-PARTY-LICENSES.txt"), licencesOf(packages));
  for (const file of ["LICENSE", "deploy/holdfast.example.yaml"]) {
    cpSync(join(root, file), join(folder, file.replace("deploy/", "")));
  }
}

/** Leaves out the fifty other languages in which zod can complain: 300 KB that a node would hold in memory. */
const englishOnly: Plugin = {
  name: "english-only",
  setup: ({ onLoad }) => {
    onLoad({ filter: /\/zod\/v4\/locales\/index\.js$/ }, ({ path }) => ({
      contents: 'export { default as en } from "./en.js";',
      resolveDir: dirname(path),
    }));
  },
};

interface Manifest {
  readonly name: string;
  readonly exports?: Readonly<Record<string, string>>;
}

const workbench = "@holdfast/workbench";

/**
 * Where Holdfast's own packages are in `from`, by what is imported, even if `node_modules` links to other sources. As aliases,
 * and not by a plugin: of what a plugin finds, esbuild does not know that it is an ES module.
 */
function ownPackages(from: string): Record<string, string> {
  const packages = join(from, "packages");
  const manifests = readdirSync(packages).map((folder) => {
    const text = readFileSync(join(packages, folder, "package.json"), "utf8");
    return { folder: join(packages, folder), ...(JSON.parse(text) as Manifest) };
  });
  const bundled = manifests.filter(({ name }) => name !== workbench);
  const pairs = bundled.flatMap(({ folder, name, exports = {} }) =>
    Object.entries(exports).map(([path, to]) => [join(name, path), join(folder, to)] as const),
  );
  return Object.fromEntries(pairs);
}

function filesOf({ outputs }: Metafile): readonly string[] {
  return Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs));
}

/** Copies the native add-on for PKCS#11, three files of its package, if this machine has built it. */
export function copyAddOn(folder: string): readonly BundledPackage[] {
  const from = join(root, "packages/root-of-trust/node_modules/pkcs11js");
  const built = join("build", "Release", "pkcs11.node");
  if (!existsSync(join(from, built))) return [];
  const to = join(folder, "node_modules", "pkcs11js");
  for (const file of ["package.json", "index.js", built]) {
    mkdirSync(dirname(join(to, file)), { recursive: true });
    cpSync(join(from, file), join(to, file));
  }
  return packagesIn([join(from, "package.json")]);
}

/** The version of this product. */
export function productVersion(): string {
  return packageAt(root).version;
}
