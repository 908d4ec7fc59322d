import { z } from "zod";
import { may, type Routes } from "./route.ts";
import { applied, page, pageOf, time, uuid } from "./shapes.ts";

const serial = z.string().min(1).max(512);
const distinguished = z
  .string()
  .min(1)
  .max(2048)
  .regex(/^\P{Cs}*$/u, "well-formed Unicode")
  .meta({ examples: ["CN=vcenter.example, O=Example"] });

/** A denial: what it names is shown in the form in which it is compared. */
const denial = z
  .object({
    id: uuid,
    fingerprint: z.string().optional().describe("SHA-256 of the certificate (DER)."),
    issuer: z.string().optional(),
    serial: z.string().optional(),
    subject: z.string().optional(),
    peer: z
      .string()
      .optional()
      .describe(
        "The node of the link between the regions whose certificate this is, if this node has seen it.",
      ),
    reason: z.string(),
    addedAt: time,
    addedBy: z.string(),
    regions: applied,
  })
  .meta({ id: "Denial" });

/** Client certificates that are refused even if an instance or an authority admits them. */
export const denialRoutes = {
  listDenials: {
    method: "GET",
    path: "/v1/denials",
    summary: "List the certificates on the deny list, newest first.",
    tag: "Deny list",
    roles: may.read,
    scope: "system",
    query: page,
    answer: pageOf(denial),
    problems: [],
    command: {
      words: "deny list",
      list: {
        of: "denials",
        columns: [
          "ID=id",
          "FINGERPRINT=fingerprint",
          "SERIAL=serial",
          "ISSUER=issuer",
          "SUBJECT=subject",
          "PEER=peer",
          "REASON=reason",
          "REGIONS=regions",
        ],
        wide: ["ADDED=addedAt", "BY=addedBy"],
      },
    },
  },
  listPeers: {
    method: "GET",
    path: "/v1/peers",
    summary:
      "List the certificates of the link between the regions: this node's own, and those by which nodes of the other region have proven themselves to this node since it started. One that is denied by its fingerprint loses its connections within a second.",
    tag: "Deny list",
    roles: may.read,
    scope: "system",
    answer: z.object({
      items: z.array(
        z.object({
          region: z.string(),
          node: z.string(),
          fingerprint: z.string().describe("SHA-256 of the certificate (DER), hex."),
          notAfter: time,
          state: z.enum(["own", "connected", "gone", "denied"]),
        }),
      ),
    }),
    problems: [],
    command: {
      words: "peer list",
      list: {
        of: "peer certificates",
        columns: [
          "NODE=node",
          "REGION=region",
          "STATE=state",
          "EXPIRES=notAfter",
          "FINGERPRINT=fingerprint",
        ],
      },
    },
  },
  addDenial: {
    method: "POST",
    path: "/v1/denials",
    summary:
      "Shut out client certificates at every node within a second, open connections included: one by its fingerprint, or by issuer and serial number, or all with a subject. An authority that is named shuts out the clients that it admits; certificates that were added by themselves, and those of authorities below it, must be denied too. The certificate of a node for the link between the regions is denied by its fingerprint only. No check tells whether a client has this name: once the client has tried again, the list of refused clients must show it as denied.",
    tag: "Deny list",
    roles: may.decideClients,
    scope: "system",
    body: z
      .object({
        fingerprint: z
          .string()
          .max(128)
          .optional()
          .describe("SHA-256 of the certificate (DER), hex, with or without colons."),
        issuer: distinguished.optional().describe("With `serial`: who issued the certificate."),
        serial: serial
          .optional()
          .describe(
            "With `issuer`: the serial number, hex (not decimal), as `openssl x509 -serial` prints it.",
          ),
        subject: distinguished.optional().describe("Every certificate with this subject."),
        reason: z
          .string()
          .min(1)
          .max(256)
          .regex(/^[^\p{Cc}\p{Cs}]*$/u, "one line of text")
          .describe("Why, for people: shown in the list and in the audit trail."),
        force: z
          .boolean()
          .optional()
          .describe(
            "Also if an instance has no other certificate left, or the regions are cut apart.",
          ),
      })
      .strict(),
    answer: denial,
    repeatable: true,
    dryRun: true,
    problems: ["wrongState", "confirmationNeeded", "conflict", "storeUnavailable"],
    audit: "denial.create",
    command: {
      words: "deny add",
      example: 'holdfast deny add --fingerprint SHA256 --reason "host was stolen"',
    },
  },
  removeDenial: {
    method: "DELETE",
    path: "/v1/denials/{denial}",
    summary:
      "Lift a denial, in both regions; the certificates are admitted again by what else admits them.",
    tag: "Deny list",
    roles: may.decideClients,
    scope: "system",
    params: z.object({ denial: uuid.describe("The identifier of the denial.") }),
    answer: z.object({ id: uuid, regions: applied }),
    dryRun: true,
    problems: ["notFound", "conflict", "storeUnavailable"],
    audit: "denial.delete",
    guarded: { action: "admit-client" },
    command: { words: "deny remove" },
  },
} as const satisfies Routes;
