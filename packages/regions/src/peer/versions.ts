import { StoreUnavailable } from "@holdfast/engine";

/** The oldest and the newest version of the protocol that this release speaks. */
export const protocolMin = 2;
export const protocolMax = 2;

/** What this release can do beyond its protocol version; unknown names are ignored. */
export const features: readonly string[] = ["probe"];

/** Versions that a side speaks; the fields of both `HelloRequest` and `HelloReply`. */
export interface Versions {
  readonly protocolMin: number;
  readonly protocolMax: number;
}

/** The newest version that both sides speak; undefined without one. */
export function commonVersion(theirs: Versions): number | undefined {
  const newest = Math.min(protocolMax, theirs.protocolMax);
  return newest >= Math.max(protocolMin, theirs.protocolMin) ? newest : undefined;
}

/** Throws for a side that speaks no version of ours. */
export function checkVersions(region: string, theirs: Versions): void {
  if (commonVersion(theirs) !== undefined) return;
  const { protocolMin: oldest, protocolMax: newest } = theirs;
  const older = newest < protocolMin ? `the nodes of region ${region}` : "this node";
  throw new StoreUnavailable(
    "peerUnreachable",
    `region ${region} speaks versions ${oldest} to ${newest} of the peer protocol, this node ${protocolMin} to ${protocolMax}: upgrade ${older}`,
  );
}
