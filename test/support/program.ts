import { createHash } from "node:crypto";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
} from "node:fs";
import { rm, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { bundleCode } from "../../scripts/build/bundle.ts";

const root = join(import.meta.dirname, "../..");
const programs = join(root, ".holdfast", "programs");
const keptMs = 24 * 3_600_000;

/** The sources of the command line. */
export const sources = join(root, "packages", "cli", "src", "main.ts");
const variable = "HOLDFAST_TEST_PROGRAM";

/**
 * What the tests' processes run: the bundle, as it ships, where `setup` made one. It starts in half the processor time that
 * the sources take.
 */
export function program(): string {
  return process.env[variable] ?? sources;
}

/**
 * Before the tests of a project: bundles this checkout into a folder that is named after what is in it. A later project of the
 * run uses the same one; a variable that came from another checkout's run does not count.
 */
export async function setup(): Promise<void> {
  if (process.env[variable]?.startsWith(programs + sep)) return;
  mkdirSync(programs, { recursive: true });
  const made = mkdtempSync(join(programs, "new-"));
  try {
    await bundleCode(made, root);
    const folder = join(programs, digestOf(made));
    symlinkSync(join(root, "packages", "console", "dist"), join(made, "console"));
    // The native add-on is not in a bundle.
    symlinkSync(
      join(root, "packages", "root-of-trust", "node_modules"),
      join(made, "node_modules"),
    );
    try {
      renameSync(made, folder);
    } catch {
      // Another run has made the same one.
    }
    process.env[variable] = join(folder, "holdfast.mjs");
  } finally {
    await rm(made, { recursive: true, force: true });
  }
  await removeOld();
}

/** Of the code, and of this checkout, to which the folder has links. */
function digestOf(folder: string): string {
  const hash = createHash("sha256").update(root);
  for (const name of readdirSync(folder).filter((file) => file.endsWith(".mjs"))) {
    hash.update(name).update(readFileSync(join(folder, name)));
  }
  return hash.digest("hex").slice(0, 16);
}

async function removeOld(): Promise<void> {
  for (const name of readdirSync(programs)) {
    const folder = join(programs, name);
    const found = await stat(folder).catch(() => undefined);
    if (found !== undefined && Date.now() - found.mtimeMs > keptMs) {
      await rm(folder, { recursive: true, force: true });
    }
  }
}
