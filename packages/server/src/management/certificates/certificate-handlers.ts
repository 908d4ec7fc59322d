import { X509Certificate } from "node:crypto";
import type { Call, Contract, Handlers } from "@holdfast/admin";
import { ManagementError } from "@holdfast/admin";
import type { LastConnections } from "../../access/last-connections.ts";
import { limitOf, limitText } from "../../access/operation-limit.ts";
import { managementEvents } from "../../audit/management-event.ts";
import { fingerprintOf, subjectOf } from "../../base/certificates.ts";
import type { Presence } from "../../records/presence.ts";
import type { Applied, Records } from "../../records/records.ts";
import { refuseBound } from "../../records/refusals.ts";
import type { InstanceAuthorities } from "../authority/instance-authorities.ts";
import type { InstanceLookup } from "../instance-lookup.ts";
import { pageBy } from "../paging.ts";
import type { RefusedDirectory } from "../refused/refused-directory.ts";
import type { Added, Adding } from "./adding.ts";
import {
  certificateAnswer,
  type Listed,
  listedOf,
  namedCertificate,
  placeOf,
} from "./catalogue.ts";
import { checkUsable, isPlainPem, readable, readPasted } from "./paste.ts";

export interface CertificateDeps {
  readonly region: string;
  readonly node: string;
  readonly instances: InstanceLookup;
  readonly records: Pick<Records, "change" | "destroy">;
  readonly presence: Pick<Presence, "of" | "ofOne">;
  readonly adding: Adding;
  readonly authorities: InstanceAuthorities;
  readonly refused: Pick<RefusedDirectory, "find">;
  /** Of the clients of this node. */
  readonly lastConnections: Pick<LastConnections, "of">;
  readonly wallMs: () => number;
}

type Names =
  | "listCertificates"
  | "addCertificate"
  | "readCertificate"
  | "updateCertificate"
  | "deleteCertificate"
  | "adoptCertificate"
  | "readAuthority"
  | "signRequest"
  | "issuePair";
type CallOf<Name extends Names> = Call<Contract[Name]>;

/** Client certificates and instances' own authorities. */
export function certificateHandlers(deps: CertificateDeps): Pick<Handlers, Names> {
  return {
    listCertificates: (call) => list(deps, call),
    addCertificate: (call) => add(deps, call),
    readCertificate: (call) => read(deps, call),
    updateCertificate: (call) => limit(deps, call),
    deleteCertificate: (call) => remove(deps, call),
    adoptCertificate: (call) => adopt(deps, call),
    readAuthority: async ({ params }) => {
      const found = await deps.instances.find(params.instance);
      const certificate = deps.authorities.certificateOf(found);
      return authorityAnswer(certificate);
    },
    signRequest: (call) => sign(deps, call),
    issuePair: (call) => issue(deps, call),
  };
}

async function list(deps: CertificateDeps, { params, query }: CallOf<"listCertificates">) {
  const found = await deps.instances.find(params.instance);
  const { items, next } = pageBy(listedOf(found), placeOf, query);
  const regions = await deps.presence.of(items.map(({ id }) => id));
  return {
    items: items.map((listed) => shown(deps, listed, regions.get(listed.id) ?? {})),
    ...next,
  };
}

async function read(deps: CertificateDeps, { params }: CallOf<"readCertificate">) {
  const listed = namedCertificate(await deps.instances.find(params.instance), params.certificate);
  const regions = await deps.presence.of([listed.id]);
  return {
    ...shown(deps, listed, regions.get(listed.id) ?? {}),
    pem: listed.pemGiven ?? listed.pem,
  };
}

async function add(deps: CertificateDeps, call: CallOf<"addCertificate">) {
  const found = await deps.instances.managed(call.params.instance);
  const { name, kind, pem, operations } = call.body;
  if (kind === "authority") {
    const says =
      "an authority may have issued certificates of other instances' clients: a token that is bound adds none; add the client's own certificate, or sign its request";
    refuseBound(call, says);
  }
  const certificate = readPasted(pem);
  await checkUsable(certificate, kind, deps.wallMs());
  const pemGiven = isPlainPem(pem) && pem !== certificate.toString() ? pem : undefined;
  const how = { name, kind, origin: "added", operations: limitOf(operations), pemGiven } as const;
  const added = await deps.adding.add(call, found, certificate, how);
  return addedAnswer(deps, added);
}

async function adopt(deps: CertificateDeps, call: CallOf<"adoptCertificate">) {
  const found = await deps.instances.managed(call.params.instance);
  const { fingerprint, name, operations } = call.body;
  const der = deps.refused.find(fingerprint);
  const certificate = der && readable(der);
  // Other nodes report it: only the certificate that was named is added.
  if (certificate === undefined || fingerprintOf(certificate) !== fingerprint) {
    throw new ManagementError(
      "notFound",
      "no client with this certificate was refused recently: have vCenter connect once more, or paste the certificate",
    );
  }
  await checkUsable(certificate, "client", deps.wallMs(), true);
  const limit = limitOf(operations);
  const how = { name, kind: "client", origin: "adopted", operations: limit } as const;
  return addedAnswer(deps, await deps.adding.add(call, found, certificate, how));
}

async function limit(deps: CertificateDeps, call: CallOf<"updateCertificate">) {
  const found = await deps.instances.managed(call.params.instance);
  const listed = namedCertificate(found, call.params.certificate);
  const { id, name, fingerprint } = listed;
  const operations = limitOf(call.body.operations);
  const detail = { fingerprint, operations: limitText(operations) };
  const target = { id, name, instance: found.id };
  const nowMs = deps.wallMs();
  const events = managementEvents(call, call.audit, target, { timeMs: nowMs, detail });
  const { record, regions } = await deps.records.change(
    "Certificate",
    id,
    () => ({ operations }),
    events,
  );
  return certificateAnswer(record, nowMs, regions);
}

async function remove(deps: CertificateDeps, call: CallOf<"deleteCertificate">) {
  const found = await deps.instances.managed(call.params.instance);
  const { id, name, fingerprint } = namedCertificate(found, call.params.certificate);
  const target = { id, name, instance: found.id };
  const about = { timeMs: deps.wallMs(), detail: { fingerprint } };
  const events = managementEvents(call, call.audit, target, about);
  const { regions } = await deps.records.destroy("Certificate", id, events);
  return { id, name, regions };
}

async function sign(deps: CertificateDeps, call: CallOf<"signRequest">) {
  const found = await deps.instances.installed(call.params.instance);
  const { name, csr, days, operations } = call.body;
  const limit = limitOf(operations);
  const how = { name, kind: "client", origin: "signed", operations: limit } as const;
  await deps.adding.check(call, found, how);
  const { signClientRequest } = await import("../authority/issue.ts");
  const signer = await deps.authorities.signerOf(call, found);
  const about = { commonName: name, nowMs: deps.wallMs(), days };
  const pem = await signClientRequest(signer, csr, about);
  const added = await deps.adding.add(call, found, new X509Certificate(pem), how);
  return { certificate: addedAnswer(deps, added), pem, authority: signer.pem };
}

async function issue(deps: CertificateDeps, call: CallOf<"issuePair">) {
  const found = await deps.instances.installed(call.params.instance);
  const { name, days, operations } = call.body;
  const limit = limitOf(operations);
  const how = { name, kind: "client", origin: "issued", operations: limit } as const;
  await deps.adding.check(call, found, how);
  const { issueClientPair } = await import("../authority/issue.ts");
  const signer = await deps.authorities.signerOf(call, found);
  const about = { commonName: name, nowMs: deps.wallMs(), days };
  const { pem, privateKey } = await issueClientPair(signer, about);
  const added = await deps.adding.add(call, found, new X509Certificate(pem), how);
  return { certificate: addedAnswer(deps, added), pem, authority: signer.pem, privateKey };
}

/** A certificate, with the last connection of its clients to this node. */
function shown(
  { region, node, lastConnections, wallMs }: CertificateDeps,
  listed: Listed,
  regions: Applied,
) {
  const answer = certificateAnswer(listed, wallMs(), regions);
  const timeMs = lastConnections.of(listed.fingerprint);
  if (timeMs === undefined) return answer;
  return { ...answer, lastConnection: { region, node, time: new Date(timeMs).toISOString() } };
}

function addedAnswer({ wallMs }: CertificateDeps, { entry, regions }: Added) {
  return certificateAnswer(entry, wallMs(), regions);
}

function authorityAnswer(certificate: X509Certificate) {
  return {
    certificate: certificate.toString(),
    fingerprint: fingerprintOf(certificate),
    subject: subjectOf(certificate),
    notAfter: certificate.validToDate.toISOString(),
  };
}
