import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { checkout } from "./checkout.ts";
import { OperatorError } from "./operator-error.ts";

const mend =
  "run `npm start` in the checkout, which brings it, or put redis-server 7.2 or newer on PATH";

/** The set-up's redis-server, or the first on PATH; `OperatorError` if it is missing or too old. */
export function findRedisServer(path = "", own = checkout): string {
  // The set-up's own copy comes first: it exists only if the system's was missing or too old.
  const folders = [join(own, ".holdfast", "redis", "bin"), ...path.split(delimiter)];
  const server = folders.map((folder) => join(folder, "redis-server")).find(isExecutable);
  if (server === undefined) throw new OperatorError(`redis-server was not found: ${mend}`);
  const { stdout } = spawnSync(server, ["--version"], { encoding: "utf8", timeout: 10_000 });
  const version = /\bv=(\d+)\.(\d+)/.exec(stdout ?? "");
  if (version === null) throw new OperatorError(`${server} does not run: ${mend}`);
  const [major, minor] = version.slice(1).map(Number) as [number, number];
  if (major > 7 || (major === 7 && minor >= 2)) return server;
  throw new OperatorError(`${server} is version ${major}.${minor}, which has no WAITAOF: ${mend}`);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
