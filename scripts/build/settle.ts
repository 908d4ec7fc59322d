import { execFileSync } from "node:child_process";
import { chmodSync, lstatSync, readdirSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { root, SetUpError } from "../setup/common.mjs";

/**
 * The time of everything that a build makes, in seconds since 1970: SOURCE_DATE_EPOCH if it is set (as
 * reproducible-builds.org defines it), otherwise the time of the commit in `folder`.
 */
export function sourceEpoch(
  folder = root,
  given: string | undefined = process.env["SOURCE_DATE_EPOCH"],
): number {
  const text = given ?? commitTime(folder);
  // A zip cannot have an earlier time than 1980.
  if (/^\d{9,10}$/.test(text) && Number(text) >= 315_619_200) return Number(text);
  throw new SetUpError(
    given === undefined
      ? "the time of the commit is unknown: build in a clone, or set SOURCE_DATE_EPOCH to seconds since 1970"
      : `SOURCE_DATE_EPOCH is ${given}: set it to the seconds since 1970 of a time after 1980`,
  );
}

function commitTime(folder: string): string {
  try {
    const args = ["log", "-1", "--format=%ct"];
    const stdio = ["ignore", "pipe", "ignore"] as const;
    return execFileSync("git", args, { cwd: folder, encoding: "utf8", stdio: [...stdio] }).trim();
  } catch {
    return "";
  }
}

/**
 * Gives a folder, and all in it, the modes 0755 (folders, programs) and 0644, and the time of the sources: those of the
 * files on this machine depend on its umask and on when they were written.
 */
export function settle(folder: string): void {
  const epoch = sourceEpoch();
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" });
  for (const path of ["", ...paths].map((name) => join(folder, name))) {
    const stats = lstatSync(path);
    const runs = stats.isDirectory() || (stats.mode & 0o111) !== 0;
    chmodSync(path, runs ? 0o755 : 0o644);
    utimesSync(path, epoch, epoch);
  }
}
