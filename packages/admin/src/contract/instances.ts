import { instanceStatuses } from "@holdfast/engine/instance-status";
import { z } from "zod";
import { rootReference, rootStatus } from "./roots.ts";
import { may, type Routes } from "./route.ts";
import {
  applied,
  description,
  destroyDelay,
  destroyOverKmip,
  flag,
  instanceParam,
  labels,
  name,
  page,
  pageOf,
  region,
  time,
  uuid,
  version,
} from "./shapes.ts";

/** An instance's status, in IBM's words. */
const instanceStatus = z.enum(instanceStatuses);

/** How far a region's records are under a newer KEK. */
const rekeyInRegion = z.object({
  kek: uuid.describe("The key-encryption key under which they are sealed anew."),
  resealed: z.number().int().describe("Records that are sealed anew."),
  left: z.number().int().describe("At most so many records may still need an older key."),
  doneAt: time.optional().describe("Since when nothing is left."),
  reason: z.string().describe("Why it does not go on; empty if it does."),
});

/** A key-encryption key of an instance. */
const kek = z.object({
  id: uuid,
  createdAt: time,
  use: z
    .enum(["seals", "waits", "older"])
    .describe("`waits`: a region has not wrapped it yet. `older`: records may need it."),
  seals: z.number().int().describe("How often it has sealed, in all regions."),
});

/** An instance in one region. */
const instanceInRegion = z.object({
  status: instanceStatus,
  reason: z.string().describe("Why it is not Installed; empty if it is."),
  root: rootStatus.optional(),
  rekey: rekeyInRegion.optional().describe("Present once the instance was rekeyed."),
  endpoints: z.array(z.string()).describe("Where vCenter connects, host:port."),
});

/** An instance. */
const instance = z
  .object({
    id: uuid,
    name: z.string(),
    description,
    labels,
    status: instanceStatus,
    reason: z.string(),
    origin: z.enum(["order", "configuration"]),
    createdAt: time.optional(),
    createdBy: z.string(),
    configuredAt: time.optional(),
    regions: z.record(region, instanceInRegion),
    certificates: z.number().int(),
    users: z.number().int(),
    keys: z.record(z.string(), z.number().int()).describe("Number of objects by State."),
    keks: z.array(kek).optional().describe("Its key-encryption keys, the newest first."),
    destroyOverKmip: destroyOverKmip.describe(
      "Whether KMIP clients may destroy objects, revoke Active ones, and set Deactivation Dates.",
    ),
    destroyDelay: destroyDelay.describe(
      "For how many seconds destroyed objects can be restored; 0 = not at all.",
    ),
    pending: applied,
    version,
  })
  .meta({ id: "Instance" });

const deleteConfirm = {
  field: "name",
  of: "the name of the instance",
  does: "deleted",
  when: "force",
  refused: "keysRemain",
} as const;

/** Instances. */
export const instanceRoutes = {
  listInstances: {
    method: "GET",
    path: "/v1/instances",
    summary: "List instances.",
    tag: "Instances",
    roles: may.read,
    scope: "instance",
    query: page.extend({
      name: z.string().max(64).optional().describe("Part of the name."),
      status: instanceStatus.optional(),
      label: z.string().max(321).optional().describe("`key` or `key=value`."),
      deleted: flag.optional().describe("Include deleted instances."),
    }),
    answer: pageOf(instance),
    problems: [],
    command: {
      words: "instance list",
      list: {
        of: "instances",
        columns: [
          "NAME=name",
          "STATUS=status",
          "KEYS=keys",
          "REGIONS=regions",
          "CERTIFICATES=certificates",
          "CREATED=createdAt",
        ],
        wide: ["ID=id"],
      },
    },
  },
  createInstance: {
    method: "POST",
    path: "/v1/instances",
    summary: "Order an instance; with roots of trust it is configured too.",
    tag: "Instances",
    roles: may.manage,
    scope: "system",
    body: z
      .object({
        name: name.optional().describe("`kmip-xx` with two random letters unless given."),
        description: description.default(""),
        labels: labels.default({}),
        destroyOverKmip: destroyOverKmip
          .default("refused")
          .describe(
            "Whether KMIP clients may destroy objects, revoke Active ones, and set Deactivation Dates. vSphere never does. Operators can in any case.",
          ),
        destroyDelay: destroyDelay
          .default(604_800)
          .describe(
            "For how many seconds destroyed objects can be restored: they answer as Destroyed at once, and their material is erased when this time is over. 0 = erased at once",
          ),
        rootOfTrust: z
          .object({ regions: z.record(region, rootReference) })
          .strict()
          .optional()
          .describe("If absent, the instance is Inactive until it is configured."),
      })
      .strict(),
    answer: instance,
    status: 201,
    dryRun: true,
    problems: [
      "nameTaken",
      "rootKeyMissing",
      "rootDenied",
      "rootDisabled",
      "rootGone",
      "rootUnavailable",
      "rootUnsupported",
      "peerUnreachable",
      "storeUnavailable",
    ],
    etag: "given",
    audit: "instance.create",
    makes: "instance",
    command: {
      words: "instance order",
      roots: "rootOfTrust",
      hidden: ["rootOfTrust"],
      wait: ["Installed", "Inactive"],
      example:
        "holdfast instance order --name kmip-prod --root a:key-protect,instanceId=UUID,rootKey=UUID,apiKey=@key.txt --root b:local --wait",
    },
  },
  readInstance: {
    method: "GET",
    path: "/v1/instances/{instance}",
    summary: "Show an instance.",
    tag: "Instances",
    roles: may.read,
    scope: "instance",
    params: instanceParam,
    answer: instance,
    problems: ["notFound"],
    etag: "given",
    command: { words: "instance show" },
  },
  updateInstance: {
    method: "PATCH",
    path: "/v1/instances/{instance}",
    summary:
      "Change an instance's name, description or labels, what its KMIP clients may do, or for how long destroyed keys can be restored. A token that is bound changes no name and no labels.",
    tag: "Instances",
    roles: may.manage,
    scope: "instance",
    params: instanceParam,
    body: z
      .object({
        name: name.optional(),
        description: description.optional(),
        labels: labels.optional(),
        destroyOverKmip: destroyOverKmip.optional(),
        destroyDelay: destroyDelay
          .optional()
          .describe("For objects that are destroyed from now on, in seconds"),
      })
      .strict(),
    answer: instance,
    dryRun: true,
    problems: [
      "notFound",
      "declared",
      "nameTaken",
      "wrongState",
      "conflict",
      "preconditionFailed",
      "peerUnreachable",
      "storeUnavailable",
    ],
    etag: "given",
    audit: "instance.update",
    guarded: {
      action: "allow-destroy",
      when: ({ body }) =>
        body["destroyOverKmip"] === "allowed" || body["destroyDelay"] !== undefined,
    },
    command: {
      words: "instance update",
      example: "holdfast instance update kmip-prod --labels group=finance",
    },
  },
  rekeyInstance: {
    method: "POST",
    path: "/v1/instances/{instance}/rekey",
    summary:
      "Make a new key-encryption key for the instance. It seals from now on, and the leaders seal older records anew, in both regions.",
    tag: "Instances",
    roles: may.manage,
    scope: "instance",
    params: instanceParam,
    answer: instance,
    problems: [
      "notFound",
      "wrongState",
      "rootDenied",
      "rootUnavailable",
      "peerUnreachable",
      "storeUnavailable",
    ],
    audit: "instance.rekey",
    command: { words: "instance rekey", example: "holdfast instance rekey kmip-prod" },
  },
  deleteInstance: {
    method: "DELETE",
    path: "/v1/instances/{instance}",
    summary:
      "Delete an instance with everything in it. Data and encrypted backups under its keys can never be decrypted again.",
    tag: "Instances",
    roles: may.manage,
    scope: "instance",
    params: instanceParam,
    query: z.object({
      force: flag.optional().describe("Delete it even if keys exist that are not destroyed."),
      name: z
        .string()
        .max(64)
        .optional()
        .describe("With `force`: the instance's name, typed again."),
    }),
    answer: z.object({
      id: uuid,
      name: z.string(),
      status: instanceStatus,
      erased: z
        .number()
        .int()
        .optional()
        .describe(
          "Number of objects that this node erased, if any; each region's leader erases the rest.",
        ),
      warning: z.string().optional().describe("Present if the instance may have had keys."),
      regions: applied,
    }),
    status: 202,
    dryRun: true,
    problems: [
      "notFound",
      "declared",
      "wrongState",
      "conflict",
      "keysRemain",
      "confirmationNeeded",
      "peerUnreachable",
      "storeUnavailable",
    ],
    etag: "given",
    audit: "instance.delete",
    guarded: { action: "delete-instance" },
    command: {
      words: "instance delete",
      confirm: deleteConfirm,
      wait: ["Deleted"],
      example: "holdfast instance delete kmip-prod --force --name kmip-prod --wait",
    },
  },
} as const satisfies Routes;
