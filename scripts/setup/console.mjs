import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, run, SetUpError } from "./common.mjs";
import { node24 } from "./packages.mjs";

const home = join(root, "packages", "console");
const stampFile = join(home, "dist", "stamp");

/** Builds the web console if it is not built from these sources. */
export async function bringConsole() {
  if (!existsSync(home)) return;
  const stamp = stampOf();
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  const { ok, log, error } = await buildConsole(join(home, "dist"));
  if (!ok) throw new SetUpError(`the web console could not be built: ${error} (see ${log})`);
  writeFileSync(stampFile, stamp);
}

/**
 * Builds the console of the sources in `from` into a folder.
 * @param {string} folder
 * @param {string} [from]
 */
export function buildConsole(folder, from = root) {
  const cwd = join(from, "packages", "console");
  const vite = join(cwd, "node_modules", "vite", "bin", "vite.js");
  const args = [vite, "build", "--configLoader", "native", "--outDir", folder, "--emptyOutDir"];
  // Else a build in a test would have the paths of its sources inside.
  const env = { ...process.env, NODE_ENV: "production" };
  return run("console", node24, args, { cwd, env });
}

/** A digest of everything that the console is made from: its own sources and the contract's. */
function stampOf() {
  const hash = createHash("sha256").update(readFileSync(join(root, "pnpm-lock.yaml")));
  for (const name of ["admin", "console", "engine", "root-of-trust"]) {
    const folder = join(root, "packages", name);
    const sources = readdirSync(join(folder, "src"), { recursive: true, encoding: "utf8" });
    const fixed = ["index.html", "vite.config.ts", "public/plugin.html", "public/plugin-icons.png"];
    const files = [...fixed, ...sources.map((file) => join("src", file))];
    for (const file of files.filter((one) => /\.(tsx?|css|html|png)$/.test(one)).sort()) {
      const path = join(folder, file);
      if (existsSync(path)) hash.update(`${path}\0`).update(readFileSync(path));
    }
  }
  return hash.digest("hex");
}
