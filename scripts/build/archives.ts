import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Zippable, zipSync } from "fflate";
import { root, run, SetUpError } from "../setup/common.mjs";
import { sourceEpoch } from "./settle.ts";
import { makeTree, nameOf, type TargetName } from "./tree.ts";

/** Creates `holdfast-VERSION-TARGET.tar.gz` in `out`; returns its path. */
export async function makeTarball(target: TargetName, out: string): Promise<string> {
  const name = nameOf(target);
  await makeTree(target, join(out, name));
  const file = join(out, `${name}.tar.gz`);
  const same = ["--format=gnu", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"];
  await must("tar", [...same, "--use-compress-program=gzip -n", "-cf", file, "-C", out, name]);
  return file;
}

/** Creates `holdfast-VERSION-TARGET.zip` in `out`, with executable permissions; returns its path. */
export async function makeZip(target: TargetName, out: string): Promise<string> {
  const name = nameOf(target);
  await makeTree(target, join(out, name));
  const entries: Zippable = {};
  const mtime = zipTime();
  const paths = readdirSync(join(out, name), { recursive: true, encoding: "utf8" }).toSorted();
  for (const path of paths.map((each) => join(out, name, each))) {
    const stats = statSync(path);
    if (!stats.isFile()) continue;
    // The upper half of the attributes is the Unix mode.
    const options = { os: 3, attrs: stats.mode << 16, mtime } as const;
    entries[path.slice(out.length + 1)] = [readFileSync(path), options];
  }
  const file = join(out, `${name}.zip`);
  writeFileSync(file, zipSync(entries));
  return file;
}

/** The time of the sources, as a time whose local parts are those of UTC: a zip has local times. */
function zipTime(): Date {
  const utc = new Date(sourceEpoch() * 1000);
  return new Date(
    ...([utc.getUTCFullYear(), utc.getUTCMonth(), utc.getUTCDate()] as const),
    ...([utc.getUTCHours(), utc.getUTCMinutes(), utc.getUTCSeconds()] as const),
  );
}

/** Runs a program to its end, without this user's locale, time zone and options; if it fails, throws an error that names its log. */
export async function must(program: string, args: readonly string[]): Promise<void> {
  mkdirSync(join(root, ".holdfast", "log"), { recursive: true });
  const env = {
    ...process.env,
    ...{ LC_ALL: "C", TZ: "UTC", SOURCE_DATE_EPOCH: String(sourceEpoch()) },
    // Options for tar and gzip.
    ...{ TAR_OPTIONS: undefined, GZIP: undefined },
  };
  const { ok, log, error } = await run(program, program, args, { env });
  if (!ok) throw new SetUpError(`${program} ${args[0] ?? ""}: ${error} (see ${log})`);
}
