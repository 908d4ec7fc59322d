import type { Handlers } from "@holdfast/admin";
import type { Refusal } from "../../trust.ts";
import { pageBy } from "../paging.ts";
import type { RefusedAt, RefusedDirectory } from "./refused-directory.ts";

const advice: Readonly<Record<Refusal, string>> = {
  noCertificate:
    "It showed no client certificate. In vCenter, establish trust for the key provider: make vCenter trust the KMS, and then the KMS trust vCenter.",
  unknownCertificate:
    "No instance has this certificate. If it is your vCenter's, adopt it into its instance; if vCenter made a new one, that is the one to add.",
  notYetValid: "It is added, but not valid yet. Compare the clocks of vCenter and of this node.",
  expired:
    "It is added, but has expired. Have vCenter make a new one, add that, and then delete this one.",
  wrongPurpose:
    "An authority of an instance issued it, but not for clients (Extended Key Usage). Have it issued with clientAuth, or adopt it by itself.",
  weakSignature:
    "An authority of an instance issued it with MD5 or SHA-1, which can be forged. Have it issued anew with SHA-256.",
};

/** The clients that were not let in. */
export function refusedHandlers(
  directory: Pick<RefusedDirectory, "list">,
): Pick<Handlers, "listRefused"> {
  return {
    listRefused: async ({ query }) => {
      const { items, next } = pageBy(directory.list(), placeOf, query);
      return {
        items: items.map(({ timeMs, certificate, ...client }) => ({
          ...client,
          time: new Date(timeMs).toISOString(),
          advice: advice[client.reason],
          adoptable: certificate !== undefined,
        })),
        ...next,
      };
    },
  };
}

/** Newest first. */
function placeOf({ timeMs, region, node, fingerprint, remote }: RefusedAt): string {
  return `${String(8.64e15 - timeMs).padStart(17, "0")} ${region} ${node} ${fingerprint} ${remote}`;
}
