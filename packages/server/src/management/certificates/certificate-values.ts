import type { X509Certificate } from "node:crypto";
import type { NewRecord, SystemRecord } from "@holdfast/engine";
import { fingerprintOf, signerOf, subjectOf } from "../../base/certificates.ts";

type Certificate = SystemRecord<"Certificate">;

/** The fields of a certificate's record that never change. */
export function certificateFixed(
  certificate: X509Certificate,
  about: Pick<Certificate, "instance" | "kind" | "origin" | "createdMs" | "createdBy">,
): Omit<NewRecord<"Certificate">, "name" | "claims" | "expiryTold" | "operations" | "pemGiven"> {
  const { instance, kind, origin, createdMs, createdBy } = about;
  return {
    instance,
    kind,
    origin,
    createdBy,
    createdMs,
    fingerprint: fingerprintOf(certificate),
    subject: subjectOf(certificate),
    issuer: issuerOf(certificate),
    serial: certificate.serialNumber.toLowerCase(),
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
    pem: certificate.toString(),
  };
}

/** The claims of a certificate: its name in the instance; in the system itself and, for an authority, its signer. */
export function certificateClaims(
  certificate: X509Certificate,
  { instance, name, kind }: Pick<Certificate, "instance" | "name" | "kind">,
): NonNullable<NewRecord<"Certificate">["claims"]> {
  return [
    ["name", instance, name],
    ["certificate", fingerprintOf(certificate)],
    ...(kind === "authority" ? ([["signer", signerOf(certificate)]] as const) : []),
  ];
}

function issuerOf(certificate: X509Certificate): string {
  return (certificate.issuer ?? "").replaceAll("\n", ", ").slice(0, 256);
}
