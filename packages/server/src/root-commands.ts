import { rotateLocalRoot } from "@holdfast/root-of-trust";
import { loadConfig } from "./config.ts";
import { reasonOf, StartError } from "./start-error.ts";
import { systemClock, systemIds } from "./system.ts";

/** Adds a version to the configured root key; tells what to do with the file. */
export async function rotateRoot(configFile: string): Promise<string> {
  const { file } = loadConfig(configFile).rootOfTrust;
  const sources = { clock: systemClock, ids: systemIds };
  const version = await rotateLocalRoot(file, sources).catch((error: unknown) => {
    throw new StartError(`rootOfTrust.file: ${reasonOf(error)}`);
  });
  return `${file}: version ${version} wraps from now on; give this file to every node of the region now, and keep a copy`;
}
