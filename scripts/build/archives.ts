import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Zippable, zipSync } from "fflate";
import { root, run, SetUpError } from "../setup/common.mjs";
import { makeTree, nameOf, type TargetName } from "./tree.ts";

/** A fixed time for archives, so that the same sources produce the same bytes. */
const epoch = new Date("2026-01-01T00:00:00Z");

/** Creates `holdfast-VERSION-TARGET.tar.gz` in `out`; returns its path. */
export async function makeTarball(target: TargetName, out: string): Promise<string> {
  const name = nameOf(target);
  await makeTree(target, join(out, name));
  const file = join(out, `${name}.tar.gz`);
  const same = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner"];
  await must("tar", [...same, `--mtime=${epoch.toISOString()}`, "-czf", file, "-C", out, name]);
  return file;
}

/** Creates `holdfast-VERSION-TARGET.zip` in `out`, with executable permissions; returns its path. */
export async function makeZip(target: TargetName, out: string): Promise<string> {
  const name = nameOf(target);
  await makeTree(target, join(out, name));
  const entries: Zippable = {};
  for (const entry of readdirSync(join(out, name), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const { mode } = statSync(path);
    // The upper half of the attributes is the Unix mode.
    const options = { os: 3, attrs: mode << 16, mtime: epoch } as const;
    entries[path.slice(out.length + 1)] = [readFileSync(path), options];
  }
  const file = join(out, `${name}.zip`);
  writeFileSync(file, zipSync(entries));
  return file;
}

/** Runs a program to its end; if it fails, throws an error that names its log. */
export async function must(program: string, args: readonly string[]): Promise<void> {
  mkdirSync(join(root, ".holdfast", "log"), { recursive: true });
  const { ok, log, error } = await run(program, program, args);
  if (!ok) throw new SetUpError(`${program} ${args[0] ?? ""}: ${error} (see ${log})`);
}
