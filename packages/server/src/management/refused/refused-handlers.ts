import type { Handlers } from "@holdfast/admin";
import type { RefusedClient } from "../../access/refused-clients.ts";
import { pageBy } from "../paging.ts";
import type { RefusedAt, RefusedDirectory } from "./refused-directory.ts";

const advice: Readonly<Record<RefusedClient["reason"], string>> = {
  noCertificate:
    "It presented no client certificate. In vCenter, establish trust for the key provider: make vCenter trust the KMS, and then the KMS trust vCenter.",
  denied:
    "It is on the deny list, or an authority that issued it is: `holdfast deny list` says why. If it may connect again, a security officer lifts the denial with `holdfast deny remove`.",
  denyListUnreadable:
    "The node cannot read its deny list, so it admits nobody. Run `holdfast doctor`; docs/runbook.md says what to do.",
  revoked:
    "The authority that issued it has revoked it. Have a new certificate issued, and tell the authority if this one was revoked by mistake.",
  revocationUnknown:
    "The authority's revocation list was not read yet, or has ended, and crls.required is true. Run `holdfast doctor` at this node; docs/runbook.md (HoldfastRevocationList) says what to do.",
  unknownCertificate:
    "No instance has this certificate. If it is your vCenter's, adopt it into its instance; if vCenter made a new one, that is the one to add.",
  notYetValid: "It is added, but not valid yet. Compare the clocks of vCenter and of this node.",
  expired:
    "It is added, but has expired. Have vCenter make a new one, add that, and then delete this one.",
  wrongPurpose:
    "An authority of an instance issued it, but not for clients (Extended Key Usage). Have it issued with clientAuth, or adopt it by itself.",
  weakSignature:
    "An authority of an instance issued it with MD5 or SHA-1, which can be forged. Have it issued again with SHA-256.",
  noCommonVersion:
    "It supports no TLS version that this node accepts, which are 1.2 and 1.3. Turn one of them on at the client.",
  noCommonSuite:
    "It offers no cipher suite, or no curve, that any setting of this node accepts. Turn on ECDHE with AES-GCM and the curve P-256 at the client.",
  needsRsaCertificate:
    "It accepts RSA certificates only, and this node has none. Add one beside the ECDSA one: a second file each in tls.certificate and tls.key.",
  needsKmipBasic:
    "It offers AES128-SHA256 or AES256-SHA256 with RSA key exchange, and nothing that this node accepts. Set tls.suites: kmip-basic, which needs an RSA certificate in tls.certificate and tls.key; these suites have no forward secrecy.",
  serverNotTrusted:
    "It does not accept this node's certificate. In vCenter, establish trust for the key provider again: make vCenter trust the KMS. The certificate may be new, expired, or without the address that the client uses.",
};

/** Adding the certificate would not help. */
const shutOut: ReadonlySet<RefusedClient["reason"]> = new Set([
  ...(["denied", "revoked", "revocationUnknown"] as const),
]);

/** The clients that were refused. */
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
          adoptable: certificate !== undefined && !shutOut.has(client.reason),
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
