import { z } from "zod";
import { may, type Routes } from "./route.ts";
import {
  applied,
  givenLimit,
  instanceParam,
  name,
  operationLimit,
  page,
  pageOf,
  pem,
  region,
  sha256,
  time,
  uuid,
} from "./shapes.ts";

/** A `client` certificate gives access; an `authority` gives it to client certificates it issued. */
const certificateKind = z.enum(["client", "authority"]);

/** A certificate that gives access to an instance. */
const certificate = z
  .object({
    id: uuid,
    name: z.string(),
    kind: certificateKind,
    origin: z.enum(["added", "signed", "issued", "adopted", "configuration"]),
    fingerprint: sha256.describe("SHA-256 of the certificate (DER)."),
    subject: z.string(),
    issuer: z.string(),
    serial: z.string(),
    notBefore: time,
    notAfter: time,
    expiry: z.enum(["valid", "in45days", "in7days", "in1day", "expired", "notYetValid"]),
    addedAt: time.optional(),
    addedBy: z.string(),
    operations: operationLimit,
    lastConnection: z
      .object({ region, node: z.string(), time })
      .optional()
      .describe(
        "When a client was last admitted by it at the node that answers; absent if none was since this node started.",
      ),
    regions: applied,
  })
  .meta({ id: "Certificate" });

const certificateParam = instanceParam.extend({
  certificate: z
    .string()
    .min(1)
    .max(64)
    .describe("The certificate's identifier, name or fingerprint."),
});

const addProblems = [
  "notFound",
  "declared",
  "wrongState",
  "nameTaken",
  "certificateTaken",
  "certificateInvalid",
  "conflict",
  "peerUnreachable",
  "storeUnavailable",
] as const;

/** Problems of operations that use the instance's keys. */
const sealingProblems = ["rootDenied", "rootUnavailable"] as const;

/** An authority of an instance that signs client certificates. */
const authority = z
  .object({
    certificate: pem,
    fingerprint: sha256,
    subject: z.string(),
    notAfter: time,
  })
  .meta({ id: "Authority" });

/** A client that was refused. */
const refusedClient = z
  .object({
    time,
    region,
    node: z.string(),
    remote: z.string(),
    reason: z.enum([
      "noCertificate",
      "denied",
      "denyListUnreadable",
      "revoked",
      "revocationUnknown",
      "unknownCertificate",
      "notYetValid",
      "expired",
      "wrongPurpose",
      "weakSignature",
      "noCommonVersion",
      "noCommonSuite",
      "needsRsaCertificate",
      "needsKmipBasic",
      "serverNotTrusted",
    ]),
    advice: z.string().describe("What to do about it."),
    fingerprint: z.string(),
    subject: z.string(),
    times: z.number().int().describe("How often this node refused it."),
    adoptable: z
      .boolean()
      .describe(
        "Whether its certificate is known, not denied and not revoked, so that it can be adopted.",
      ),
  })
  .meta({ id: "RefusedClient" });

/** A certificate that a node's KMIP endpoint shows its clients. */
const serverCertificate = z
  .object({
    region,
    node: z.string(),
    asked: z
      .boolean()
      .describe("Whether the node itself answers; if not, it reported this at `toldAt`."),
    toldAt: time,
    keyType: z.string().meta({ examples: ["RSA 2048", "EC P-256"] }),
    subject: z.string(),
    names: z.array(z.string()).describe("DNS names and IP addresses of the server."),
    notBefore: time,
    notAfter: time,
    sha1: z.string().describe("SHA-1 of the certificate (DER), which vCenter shows."),
    sha256: sha256.describe("SHA-256 of the certificate (DER)."),
  })
  .meta({ id: "ServerCertificate" });

const days = z.number().int().min(1).max(3650).default(365);

/** Client certificates, the instance's own authority, refused clients, users. */
export const certificateRoutes = {
  listCertificates: {
    method: "GET",
    path: "/v1/instances/{instance}/certificates",
    summary: "List an instance's client certificates and authorities.",
    tag: "Certificates",
    roles: may.read,
    scope: "instance",
    params: instanceParam,
    query: page,
    answer: pageOf(certificate),
    problems: ["notFound"],
    command: {
      words: "certificate list",
      list: {
        of: "certificates",
        columns: [
          "NAME=name",
          "EXPIRY=expiry",
          "EXPIRES=notAfter",
          "KIND=kind",
          "SUBJECT=subject",
          "REGIONS=regions",
        ],
        wide: ["FINGERPRINT=fingerprint", "OPERATIONS=operations", "CONNECTED=lastConnection"],
      },
    },
  },
  addCertificate: {
    method: "POST",
    path: "/v1/instances/{instance}/certificates",
    summary:
      "Add a client certificate or an authority; it works at every node within a second. A token that is bound adds no authority.",
    tag: "Certificates",
    roles: may.decideClients,
    scope: "instance",
    params: instanceParam,
    body: z
      .object({
        name,
        kind: certificateKind.default("client"),
        pem,
        operations: givenLimit.optional(),
      })
      .strict(),
    answer: certificate,
    status: 201,
    dryRun: true,
    problems: addProblems,
    audit: "certificate.create",
    makes: "certificate",
    guarded: { action: "admit-client" },
    command: {
      words: "certificate add",
      files: { pem: "file" },
      example: "holdfast certificate add kmip-prod --name vcenter-1 --file vcenter.pem",
    },
  },
  readCertificate: {
    method: "GET",
    path: "/v1/instances/{instance}/certificates/{certificate}",
    summary: "Show a certificate.",
    tag: "Certificates",
    roles: may.read,
    scope: "instance",
    params: certificateParam,
    answer: certificate.extend({ pem }),
    problems: ["notFound"],
    audit: "certificate.read",
    auditsSuccess: true,
    command: {
      words: "certificate show",
      output: [{ field: "pem", option: "pem-out" }],
      example: "holdfast certificate show kmip-prod vcenter-1 --pem-out vcenter.pem",
    },
  },
  updateCertificate: {
    method: "PATCH",
    path: "/v1/instances/{instance}/certificates/{certificate}",
    summary:
      "Limit a certificate, or those that an authority issued, to some KMIP operations. It takes effect within a second; open connections of its clients end, and they connect again.",
    tag: "Certificates",
    roles: may.decideClients,
    scope: "instance",
    params: certificateParam,
    body: z.object({ operations: givenLimit }).strict(),
    answer: certificate,
    dryRun: true,
    problems: ["notFound", "declared", "wrongState", "conflict", "storeUnavailable"],
    audit: "certificate.update",
    guarded: { action: "admit-client" },
    command: {
      words: "certificate update",
      example: "holdfast certificate update kmip-prod vcenter-1 --operations vsphere",
    },
  },
  deleteCertificate: {
    method: "DELETE",
    path: "/v1/instances/{instance}/certificates/{certificate}",
    summary:
      "Delete a certificate: its holder loses access within a second, open connections included.",
    tag: "Certificates",
    roles: may.decideClients,
    scope: "instance",
    params: certificateParam,
    answer: z.object({ id: uuid, name: z.string(), regions: applied }),
    dryRun: true,
    problems: ["notFound", "declared", "storeUnavailable"],
    audit: "certificate.delete",
    command: { words: "certificate delete" },
  },
  adoptCertificate: {
    method: "POST",
    path: "/v1/instances/{instance}/certificates/adopt",
    summary: "Add the certificate of a client that was refused.",
    tag: "Certificates",
    roles: may.decideClients,
    // Refused clients are of no instance yet, and may be those of any.
    scope: "system",
    params: instanceParam,
    body: z.object({ fingerprint: sha256, name, operations: givenLimit.optional() }).strict(),
    answer: certificate,
    status: 201,
    problems: addProblems,
    audit: "certificate.create",
    makes: "certificate",
    guarded: { action: "admit-client" },
    command: {
      words: "certificate adopt",
      example: "holdfast certificate adopt kmip-prod --name vcenter-1 --fingerprint SHA256",
    },
  },
  readAuthority: {
    method: "GET",
    path: "/v1/instances/{instance}/authority",
    summary: "Show the instance's own authority.",
    tag: "Certificates",
    roles: may.read,
    scope: "instance",
    params: instanceParam,
    answer: authority,
    problems: ["notFound"],
    command: {
      words: "authority show",
      output: [{ field: "certificate", option: "pem-out" }],
    },
  },
  signRequest: {
    method: "POST",
    path: "/v1/instances/{instance}/authority/sign",
    summary: "Sign vCenter's certificate signing request with the instance's own authority.",
    tag: "Certificates",
    roles: may.decideClients,
    scope: "instance",
    params: instanceParam,
    body: z.object({ name, csr: pem, days, operations: givenLimit.optional() }).strict(),
    answer: z.object({ certificate, pem, authority: pem }),
    status: 201,
    problems: [...addProblems, ...sealingProblems],
    audit: "certificate.issue",
    makes: "signedCertificate",
    guarded: { action: "admit-client" },
    command: {
      words: "authority sign",
      files: { csr: "csr" },
      output: [
        { field: "pem", option: "pem-out" },
        { field: "authority", option: "authority-out", onlyFile: true },
      ],
      example:
        "holdfast authority sign kmip-prod --name vcenter-1 --csr vcenter.csr --pem-out vcenter.pem",
    },
  },
  issuePair: {
    method: "POST",
    path: "/v1/instances/{instance}/authority/issue",
    summary:
      "Make a client certificate with its private key; the key is shown once and kept nowhere.",
    tag: "Certificates",
    roles: may.decideClients,
    scope: "instance",
    params: instanceParam,
    body: z.object({ name, days, operations: givenLimit.optional() }).strict(),
    answer: z.object({ certificate, pem, authority: pem, privateKey: z.string() }),
    status: 201,
    shownOnce: true,
    problems: [...addProblems, ...sealingProblems],
    audit: "certificate.issue",
    makes: "certificate",
    guarded: { action: "admit-client" },
    command: {
      words: "authority issue",
      output: [
        { field: "pem", option: "pem-out" },
        { field: "authority", option: "authority-out", onlyFile: true },
        { field: "privateKey", option: "key-out" },
      ],
      example:
        "holdfast authority issue kmip-prod --name vcenter-1 --pem-out vcenter.pem --key-out vcenter.key",
    },
  },
  listRefused: {
    method: "GET",
    path: "/v1/refused-clients",
    summary: "List the last clients that were refused, newest first.",
    tag: "Certificates",
    roles: may.admit,
    scope: "system",
    query: page,
    answer: pageOf(refusedClient),
    problems: [],
    command: {
      words: "refused list",
      list: {
        of: "refused clients",
        columns: [
          "TIME=time",
          "REASON=reason",
          "FROM=remote",
          "SUBJECT=subject",
          "TIMES=times",
          "NODE=node",
        ],
        below: ["MEND=advice"],
        wide: ["FINGERPRINT=fingerprint"],
      },
    },
  },
  listServerCertificates: {
    method: "GET",
    path: "/v1/server-certificates",
    summary: "List the KMIP server certificates of every node, with the fingerprints to compare.",
    tag: "Certificates",
    roles: may.read,
    scope: "system",
    answer: z.object({ items: z.array(serverCertificate) }),
    problems: [],
    command: {
      words: "certificate server",
      list: {
        of: "server certificates",
        columns: [
          "NODE=node",
          "REGION=region",
          "KEY=keyType",
          "EXPIRES=notAfter",
          "SUBJECT=subject",
        ],
        wrap: "SUBJECT",
        below: ["NAMES=names", "SHA-1=sha1|colons", "SHA-256=sha256", "TOLD=told"],
      },
    },
  },
  listUsers: {
    method: "GET",
    path: "/v1/instances/{instance}/users",
    summary: "List the instance's users; if there are any, requests need a user name and password.",
    tag: "Users",
    roles: may.read,
    scope: "instance",
    params: instanceParam,
    answer: z.object({
      items: z.array(
        z.object({
          name: z.string(),
          createdAt: time.optional(),
          origin: z.string(),
          operations: operationLimit,
        }),
      ),
    }),
    problems: ["notFound"],
    command: {
      words: "user list",
      list: {
        of: "users",
        columns: ["NAME=name", "CREATED=createdAt", "ORIGIN=origin", "OPERATIONS=operations"],
      },
    },
  },
  setUser: {
    method: "PUT",
    path: "/v1/instances/{instance}/users/{user}",
    summary:
      "Set a user's password, and what it is limited to; creates the user if it does not exist.",
    tag: "Users",
    roles: may.decideClients,
    scope: "instance",
    params: instanceParam.extend({ user: z.string().min(1).max(128) }),
    body: z
      .object({ password: z.string().min(12).max(1024), operations: givenLimit.optional() })
      .strict(),
    answer: z.object({ name: z.string(), regions: applied }),
    dryRun: true,
    problems: ["notFound", "declared", "wrongState", "storeUnavailable", ...sealingProblems],
    audit: "user.update",
    guarded: { action: "admit-client" },
    command: { words: "user set", secrets: ["password"] },
  },
  deleteUser: {
    method: "DELETE",
    path: "/v1/instances/{instance}/users/{user}",
    summary: "Delete a user.",
    tag: "Users",
    roles: may.decideClients,
    scope: "instance",
    params: instanceParam.extend({ user: z.string().min(1).max(128) }),
    answer: z.object({ name: z.string(), regions: applied }),
    dryRun: true,
    problems: ["notFound", "declared", "storeUnavailable"],
    audit: "user.delete",
    guarded: { action: "admit-client" },
    command: { words: "user delete" },
  },
} as const satisfies Routes;
