import type { X509Certificate } from "node:crypto";
import { fingerprintOf, subjectOf } from "./certificates.ts";
import type { Instance } from "./instances.ts";
import type { NodeReadings } from "./metric-row.ts";
import type { PeerIdentity } from "./peer-tls.ts";
import type { ServerIdentity } from "./tls.ts";

/** Who owns the certificates among the regions; no instance can have that name. */
export const peerOwner = "(peer)";

type Reading = ReturnType<NodeReadings["certificates"]>[number];

/** What metrics tell of the certificates that this node knows by name. */
export function certificatesOf(
  identity: ServerIdentity,
  instances: readonly Instance[],
  peer: PeerIdentity | undefined,
): readonly Reading[] {
  return [
    ...identity.leaves.map((leaf) => reading("server", "kmip", leaf)),
    ...(peer === undefined
      ? []
      : [
          reading("peer", peerOwner, peer.leaf),
          ...peer.authorities.map((authority) => reading("authority", peerOwner, authority)),
        ]),
    ...instances.flatMap(({ name, certificates, authorities }) => [
      ...certificates.map((certificate) => reading("client", name, certificate)),
      ...authorities.map((authority) => reading("authority", name, authority)),
    ]),
  ];
}

function reading(kind: Reading["kind"], owner: string, certificate: X509Certificate): Reading {
  return {
    kind,
    owner,
    subject: subjectOf(certificate),
    fingerprint: fingerprintOf(certificate),
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
  };
}
