import type { X509Certificate } from "node:crypto";
import { type Document, systemTypes } from "@holdfast/engine";
import { z } from "zod";
import { fingerprintOf, signerOf, subjectOf } from "../../base/certificates.ts";
import { toldIn } from "./expiry.ts";

/** `client`: accepted as it is; `authority`: what it issues is accepted. */
export type CertificateKind = "client" | "authority";
/** How a certificate came to its instance. */
export type CertificateOrigin = "added" | "signed" | "issued" | "adopted";

/** A certificate that opens an instance, as its system record holds it. */
export interface CertificateEntry {
  readonly id: string;
  readonly instance: string;
  readonly name: string;
  readonly kind: CertificateKind;
  readonly origin: CertificateOrigin;
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string;
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly createdMs: number;
  readonly createdBy: string;
  readonly pem: string;
  /** How many days before its end was told last; infinite where nothing was told. */
  readonly expiryTold: number;
}

const timeText = z
  .string()
  .regex(/^-?\d{1,15}$/)
  .transform(Number);

const fixedPart = z.object({
  instance: z.uuid(),
  kind: z.enum(["client", "authority"]),
  origin: z.enum(["added", "signed", "issued", "adopted"]),
  fingerprint: z.string().regex(/^[0-9a-f]{64}$/),
  subject: z.string(),
  issuer: z.string(),
  serial: z.string(),
  notBeforeMs: timeText,
  notAfterMs: timeText,
  createdMs: timeText,
  createdBy: z.string(),
  pem: z.string(),
}) satisfies z.ZodType<Omit<CertificateEntry, "id" | "name" | "expiryTold">>;

/** What a certificate's record never changes. */
export function certificateFixed(
  certificate: X509Certificate,
  about: Pick<CertificateEntry, "instance" | "kind" | "origin" | "createdMs" | "createdBy">,
): Readonly<Record<string, string>> {
  const { instance, kind, origin, createdMs, createdBy } = about;
  return {
    instance,
    kind,
    origin,
    createdBy,
    createdMs: String(createdMs),
    fingerprint: fingerprintOf(certificate),
    subject: subjectOf(certificate),
    issuer: issuerOf(certificate),
    serial: certificate.serialNumber.toLowerCase(),
    notBeforeMs: String(certificate.validFromDate.getTime()),
    notAfterMs: String(certificate.validToDate.getTime()),
    pem: certificate.toString(),
  };
}

/** What a certificate's record claims: its name in the instance, itself, and of an authority who signs, in the system. */
export function certificateClaims(
  certificate: X509Certificate,
  { instance, name, kind }: Pick<CertificateEntry, "instance" | "name" | "kind">,
): readonly string[] {
  const claims = [nameClaim(instance, name), `certificate ${fingerprintOf(certificate)}`];
  return kind === "authority" ? [...claims, `signer ${signerOf(certificate)}`] : claims;
}

/** The claim of a name in an instance. */
function nameClaim(instance: string, name: string): string {
  return `name ${instance} ${name}`;
}

/** What a record of type Certificate says; undefined where it is none, or not as it should be. */
export function readCertificateEntry(document: Document): CertificateEntry | undefined {
  const { type, id, fixed, fields } = document;
  if (type !== systemTypes.Certificate) return undefined;
  const read = fixedPart.safeParse(fixed);
  if (!read.success) return undefined;
  return { id, name: fields["name"] ?? "", expiryTold: toldIn(fields), ...read.data };
}

function issuerOf(certificate: X509Certificate): string {
  return (certificate.issuer ?? "").replaceAll("\n", ", ").slice(0, 256);
}
