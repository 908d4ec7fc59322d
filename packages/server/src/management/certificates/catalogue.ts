import type { X509Certificate } from "node:crypto";
import { type Contract, ManagementError, type Reply } from "@holdfast/admin";
import { type SystemRecord, systemIdentifier } from "@holdfast/engine";
import { pinnedOf } from "../../access/trust.ts";
import type { Identify } from "../../approvals/guarded-handlers.ts";
import type { Applied } from "../../records/records.ts";
import type { FoundInstance, InstanceLookup } from "../instance-lookup.ts";
import { certificateFixed } from "./certificate-values.ts";
import { expiryOf } from "./expiry.ts";

type CertificateAnswer = Reply<Contract["listCertificates"]>["items"][number];

/** A certificate of an instance, added or declared. */
export type Listed = Omit<
  SystemRecord<"Certificate">,
  "type" | "destroyed" | "origin" | "expiryTold"
> & {
  readonly origin: CertificateAnswer["origin"];
};

/** All certificates of an instance, by name. */
export function listedOf(found: FoundInstance): readonly Listed[] {
  const listed: Listed[] =
    found.declared === undefined
      ? [...found.certificates.values()]
      : [
          ...found.declared.certificates.map((one) => declared(found.id, one, "client")),
          ...found.declared.authorities.map((one) => declared(found.id, one, "authority")),
        ];
  return listed.toSorted((one, other) => (placeOf(one) < placeOf(other) ? -1 : 1));
}

/** The sort key of an entry in its list. */
export function placeOf({ name, id }: Pick<Listed, "name" | "id">): string {
  return `${name}\0${id}`;
}

/** The certificate that a caller names: by identifier, fingerprint or name. Throws `notFound`. */
export function namedCertificate(found: FoundInstance, text: string): Listed {
  const listed = listedOf(found);
  const wanted = text.replaceAll(":", "").toLowerCase();
  const one =
    listed.find(({ id }) => id === text) ??
    listed.find(({ fingerprint }) => fingerprint === wanted) ??
    listed.find(({ name }) => name === text);
  if (one !== undefined) return one;
  throw new ManagementError("notFound", `${found.name} has no certificate of that name`);
}

/** Finds what a call names, so that approvers sign it by its identifier. */
export function identifyBy(instances: Pick<InstanceLookup, "find">): Identify {
  return {
    instance: (text) => instances.find(text),
    certificate: async (instance, text) => namedCertificate(await instances.find(instance), text),
  };
}

/** A certificate as the API shows it. */
export function certificateAnswer(
  listed: Listed,
  nowMs: number,
  regions: Applied,
): CertificateAnswer {
  const { id, name, kind, origin, fingerprint, subject, issuer, serial, createdBy } = listed;
  return {
    id,
    name,
    kind,
    origin,
    fingerprint,
    subject,
    issuer,
    serial,
    regions,
    notBefore: new Date(listed.notBeforeMs).toISOString(),
    notAfter: new Date(listed.notAfterMs).toISOString(),
    expiry: expiryOf(listed, nowMs),
    addedBy: createdBy,
    ...(listed.operations === undefined ? {} : { operations: [...listed.operations] }),
    ...(origin === "configuration" ? {} : { addedAt: new Date(listed.createdMs).toISOString() }),
  };
}

function declared(instance: string, certificate: X509Certificate, kind: Listed["kind"]): Listed {
  const about = { instance, kind, createdMs: 0, createdBy: "configuration" } as const;
  const { issuer, serial } = certificateFixed(certificate, { ...about, origin: "added" });
  const facts = pinnedOf(certificate);
  // The same at every node, and never the identifier of a record.
  const id = systemIdentifier("Certificate", `declared\0${instance}\0${facts.fingerprint}`);
  const name = `declared-${facts.fingerprint.slice(0, 12)}`;
  const pem = certificate.toString();
  const unknown = { pemGiven: undefined, operations: undefined } as const;
  return { ...about, ...facts, ...unknown, id, name, issuer, serial, pem, origin: "configuration" };
}
