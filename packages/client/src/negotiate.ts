import { type Version, versionOfParts, versions } from "@holdfast/kmip";
import type { KmipClient } from "./client.ts";
import { KmipClientError } from "./errors.ts";

/** The newest version that the server names in Discover Versions and this client speaks. */
export async function negotiate(client: Pick<KmipClient, "discoverVersions">): Promise<Version> {
  // Ask in 1.1, the first version with Discover Versions; then in 2.0, for servers of 2.x only.
  const offered = (await ask(client, "1.1")) ?? (await ask(client, "2.0"));
  // The operation is newer than 1.0 (KMIP 1.1, 4.26).
  if (offered === undefined) return "1.0";
  const common = versions.findLast((version) => offered.includes(version));
  if (common !== undefined) return common;
  throw new KmipClientError({
    operation: "DiscoverVersions",
    status: "Success",
    reason: "no common version",
    message: `the client speaks ${versions.join(", ")}`,
  });
}

/** Undefined if the server does not know this version, or the operation in this version. */
async function ask(
  client: Pick<KmipClient, "discoverVersions">,
  version: Version,
): Promise<readonly Version[] | undefined> {
  try {
    const answer = await client.discoverVersions({ versions: [] }, { version });
    return answer.versions.flatMap((parts) => versionOfParts(parts) ?? []);
  } catch (error) {
    if (error instanceof KmipClientError && isAboutVersions(error)) return undefined;
    throw error;
  }
}

function isAboutVersions({ reason }: KmipClientError): boolean {
  return (
    reason === "OperationNotSupported" ||
    reason === "InvalidMessage" ||
    reason === "UnsupportedProtocolVersion"
  );
}
