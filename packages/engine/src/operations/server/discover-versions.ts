import { type Version, versionParts, versions } from "@holdfast/kmip";
import type { Handler } from "../../ports/operation-context.ts";

const newestFirst: readonly Version[] = versions.toReversed();

/** The versions that both sides speak, newest first; all of them when the client names none (KMIP 2.1, 6.1.16). */
export const discoverVersions: Handler<"DiscoverVersions"> = (_context, { versions: asked }) => {
  const common = newestFirst
    .map(versionParts)
    .filter(
      ({ major, minor }) =>
        asked.length === 0 || asked.some((one) => one.major === major && one.minor === minor),
    );
  return { versions: common };
};
