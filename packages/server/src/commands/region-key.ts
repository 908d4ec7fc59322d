import { writeFileSync } from "node:fs";
import { makeRegionKey, publicHalf, readRegionKey, regionKeyId } from "@holdfast/regions";
import { codeOf, OperatorError, reasonOf } from "../base/operator-error.ts";
import { readOwnKey } from "../base/peer-tls.ts";
import { loadConfig } from "../config/config.ts";

/** Makes a region key in the configured file, or in another one while a key is replaced; returns what to do next. */
export function initRegionKey(configFile: string, out?: string): readonly string[] {
  const file = out ?? regionKeyFile(configFile);
  const pem = makeRegionKey();
  try {
    writeFileSync(file, pem, { mode: 0o600, flag: "wx" });
  } catch (error) {
    const setting = out === undefined ? "peer.regionKeyFile" : "--out";
    const fault =
      codeOf(error) === "EEXIST"
        ? "exists already; a region key that the other region knows must not be lost: to replace it, make the next one with --out FILE"
        : reasonOf(error);
    throw new OperatorError(`${setting}: ${file}: ${fault}`);
  }
  const key = readRegionKey(pem);
  return [
    `${file}: made, region key ${regionKeyId(key)}; give this file to every node of the region, keep a copy, and give the other region's nodes this public half in peer.keys:`,
    publicHalf(key).trimEnd(),
  ];
}

/** The public half of the configured region key. */
export function showRegionKey(configFile: string): readonly string[] {
  return [publicHalf(readOwnKey(regionKeyFile(configFile))).trimEnd()];
}

function regionKeyFile(configFile: string): string {
  const { peer } = loadConfig(configFile);
  if (peer === undefined) {
    throw new OperatorError(
      "peer: is missing in the configuration: a region alone needs no region key",
    );
  }
  return peer.regionKeyFile;
}
