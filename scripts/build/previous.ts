import { execFileSync, type StdioOptions } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { localDirectory, root } from "../setup/common.mjs";
import { makeBundle } from "./bundle.ts";

/** Files with the numbers that decide which versions work side by side. */
const formats = {
  "packages/engine/src/record/record-codec.ts": /^export const recordFormat = \d+;$/gm,
  "packages/redis/src/session/formats.ts": /^const headerFormat = \d+;$/gm,
  "packages/regions/src/peer/versions.ts": /^export const protocol(?:Min|Max) = \d+;$/gm,
} as const;

/** An earlier version: a test replaces nodes by it, and back. */
export interface PreviousVersion {
  readonly commit: string;
  /** The program of its bundle. */
  readonly program: string;
}

/**
 * Builds the bundle of the previous version: the newest release tag, or the commit before this one. Returns the reason
 * if there is none, or if it has other formats, so that the two do not work side by side.
 */
export async function makePrevious(): Promise<PreviousVersion | string> {
  const commit = previousCommit();
  if (commit === undefined) return "this clone has no commit before this one";
  for (const [file, numbers] of Object.entries(formats)) {
    const now = readFileSync(join(root, file), "utf8").match(numbers)?.join();
    if (git("show", `${commit}:${file}`)?.match(numbers)?.join() !== now) {
      return `${commit} has other formats than this version (${file})`;
    }
  }
  const folder = join(localDirectory, "previous", commit);
  const program = join(folder, "bundle", "holdfast.mjs");
  mkdirSync(folder, { recursive: true });
  const tar = execFileSync("git", ["archive", commit, "packages", "tsconfig.base.json"], {
    cwd: root,
    maxBuffer: 256 * 1024 * 1024,
  });
  execFileSync("tar", ["-x", "-C", folder], { input: tar });
  for (const name of readdirSync(join(folder, "packages"))) {
    const link = join(folder, "packages", name, "node_modules");
    try {
      symlinkSync(join(root, "packages", name, "node_modules"), link);
    } catch {
      // The link exists from an earlier run.
    }
  }
  await makeBundle(join(folder, "bundle"), folder);
  return { commit, program };
}

function previousCommit(): string | undefined {
  const release = git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD~1");
  return git("rev-parse", "--verify", "--quiet", release ?? "HEAD~1");
}

/** The output of git; undefined if it fails. */
function git(...args: readonly string[]): string | undefined {
  try {
    const stdio: StdioOptions = ["ignore", "pipe", "ignore"];
    return execFileSync("git", args, { cwd: root, encoding: "utf8", stdio }).trim();
  } catch {
    return undefined;
  }
}
