import type { X509Certificate } from "node:crypto";
import type { ShownCertificate } from "@holdfast/redis";
import type { Instance } from "../../access/instances.ts";
import { fingerprintOf, isIssuedBy, keyTypeOf, subjectOf } from "../../base/certificates.ts";
import type { PeerIdentity } from "../../base/peer-tls.ts";
import type { ServerIdentity } from "../../base/tls.ts";
import type { NodeReadings } from "../../observe/metrics/metric-row.ts";
import type { SystemView } from "../../records/system-view.ts";
import { expiryOf } from "./expiry.ts";

/** The owner of the certificates between the regions; no instance can have this name. */
export const peerOwner = "(peer)";
/** The owner of the certificates of `store.tls`. */
export const storeOwner = "(store)";

type Reading = ReturnType<NodeReadings["certificates"]>[number];

/** Metrics of the certificates that this node knows by name. */
export function certificatesOf(
  identity: ServerIdentity,
  instances: readonly Instance[],
  peer: PeerIdentity | undefined,
  admin?: ServerIdentity,
): readonly Reading[] {
  return [
    ...(admin?.leaves ?? []).map((leaf) => reading("server", "admin", leaf)),
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

/** Certificates of the files that `store.tls` names. */
export interface StoreCertificates {
  /** Shown to Redis; undefined where nodes show none. */
  readonly leaf: X509Certificate | undefined;
  readonly authorities: readonly X509Certificate[];
}

/** Metrics of the certificates between this node and Redis: what the servers showed, and what vouches for them. */
export function storeCertificates(
  shown: readonly ShownCertificate[],
  { leaf, authorities }: StoreCertificates,
): readonly Reading[] {
  // The file may be the system's bundle, most of which has nothing to do with Redis.
  const used = authorities.filter((authority) =>
    shown.some(({ certificate }) => isIssuedBy(certificate, authority)),
  );
  return [
    ...shown.map(({ kind, address, certificate }) => reading(kind, address, certificate)),
    ...(leaf === undefined ? [] : [reading("client", storeOwner, leaf)]),
    ...used.map((authority) => reading("authority", storeOwner, authority)),
  ];
}

/** How many certificates there are of a kind, by how near their end is. */
export function expiryCounts(
  readings: readonly Reading[],
  nowMs: number,
): readonly (readonly [kind: string, expiry: string, count: number])[] {
  const counts = new Map<string, number>();
  for (const one of readings) {
    const key = `${one.kind} ${expiryOf(one, nowMs)}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([key, count]) => {
    const [kind = "", expiry = ""] = key.split(" ");
    return [kind, expiry, count] as const;
  });
}

/** Metrics of the certificates of the system records. */
export function recordedCertificates(view: Pick<SystemView, "all" | "of">): readonly Reading[] {
  return view.all("Instance").flatMap(({ instance, name: owner, destroyed }) => {
    if (destroyed !== undefined) return [];
    return [...view.of("Certificate", instance).values()].map(
      ({ kind, subject, fingerprint, notBeforeMs, notAfterMs }) => ({
        kind,
        owner,
        subject,
        fingerprint,
        notBeforeMs,
        notAfterMs,
      }),
    );
  });
}

function reading(kind: Reading["kind"], owner: string, certificate: X509Certificate): Reading {
  return {
    kind,
    owner,
    subject: subjectOf(certificate),
    keyType: keyTypeOf(certificate),
    fingerprint: fingerprintOf(certificate),
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
  };
}
