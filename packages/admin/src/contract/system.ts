import { z } from "zod";
import { rootState } from "./roots.ts";
import { may, type Routes } from "./route.ts";
import { region, time, uuid } from "./shapes.ts";

const check = z.object({
  name: z.string(),
  state: z.enum(["ok", "warning", "failed"]),
  detail: z.string(),
  mend: z.string().describe("What to do; empty if nothing is wrong."),
});

/** Which storage key a region's store uses. */
const storageKey = z
  .object({
    region,
    number: z.number().int().describe("Everything new is made with the key of this number."),
    since: time.optional().describe("When it was made; absent for the key of `store init`."),
    rotation: z
      .enum(["none", "opening", "switching", "replacing"])
      .describe(
        "none: only this number counts. opening: a new key waits until every node has opened it. switching: every node begins to use it. replacing: what the older key has proven is proven anew.",
      ),
    left: z
      .number()
      .int()
      .optional()
      .describe("Records under the older number; absent at a node that does not replace them."),
  })
  .meta({ id: "StorageKey" });

/** A backup is named only as the list names it: the name leads to no other folder. */
const backupParam = z.object({
  backup: z
    .string()
    .max(128)
    .regex(
      /^holdfast-[a-z0-9-]+-\d{8}T\d{6}Z(\.incomplete)?\.backup$/,
      "the name of a backup in the list",
    )
    .describe("Its `name` in the list of backups.")
    .meta({ examples: ["holdfast-a-20261125T023000Z.backup"] }),
});

/** What somebody ordered a region's leader to do with backups, and what came of it. */
const backupWork = z
  .object({
    id: uuid,
    region,
    what: z.enum(["create", "verify", "plan"]),
    backup: z.string().describe("The backup's name; empty where one is made."),
    state: z
      .enum(["waiting", "running", "done", "failed"])
      .describe("waiting: the region's leader takes it up within seconds."),
    orderedAt: time,
    orderedBy: z.string(),
    node: z.string().optional().describe("The leader that took it up."),
    startedAt: time.optional(),
    toldAt: time.optional().describe("When the leader told this, or the end."),
    step: z.string(),
    done: z.number().describe("Of the step: records, or bytes that were read."),
    of: z.number(),
    lines: z.array(z.string()).describe("What was found, or why it failed."),
  })
  .meta({ id: "BackupWork" });

/** What is ordered with one backup. */
const ofBackup = {
  tag: "System",
  roles: may.operate,
  scope: "system",
  params: backupParam,
  answer: backupWork,
  status: 202,
  problems: ["notFound", "wrongState", "conflict", "storeUnavailable"],
  audit: "backup.order",
} as const;

/** The service itself. */
export const systemRoutes = {
  readStatus: {
    method: "GET",
    path: "/v1/status",
    summary: "Show the health of this node and what it knows of both regions.",
    tag: "System",
    roles: may.read,
    scope: "system",
    answer: z.object({
      region,
      node: z.string(),
      version: z.string(),
      serving: z.string(),
      writes: z.boolean(),
      reason: z.string(),
      leader: z.boolean(),
      peers: z.array(
        z.object({
          region,
          state: z.string(),
          reason: z.string(),
          behind: z
            .number()
            .optional()
            .describe("Changes of that region that this one has not processed yet."),
          alone: z
            .number()
            .optional()
            .describe(
              "Changes that this node acknowledged without that region since it was lost: only this region has them.",
            ),
        }),
      ),
      rootOfTrust: z.string(),
      closedInstances: z
        .array(z.object({ instance: z.string(), state: rootState, reason: z.string() }))
        .describe("Instances whose root key this region cannot use, or whose keys were shredded."),
      certificates: z.array(z.object({ what: z.string(), notAfter: time })),
      clockAheadMs: z.number().optional(),
    }),
    problems: [],
    command: { words: "status" },
  },
  runChecks: {
    method: "POST",
    path: "/v1/checks",
    summary:
      "Check configuration, store, certificates, clock, roots of trust and peers; say what to fix.",
    tag: "System",
    roles: may.read,
    scope: "system",
    answer: z.object({ items: z.array(check) }),
    repeatable: true,
    problems: [],
    command: {
      words: "doctor",
      list: {
        of: "checks",
        columns: ["STATE=state", "CHECK=name", "DETAIL=detail"],
        below: ["MEND=mend"],
        wrap: "DETAIL",
      },
    },
  },
  readStorageKey: {
    method: "GET",
    path: "/v1/storage-key",
    summary:
      "Show which storage key the store of this node's region uses, and how far a rotation is.",
    tag: "System",
    roles: may.read,
    scope: "system",
    answer: storageKey,
    problems: ["storeUnavailable"],
    command: { words: "storage-key show" },
  },
  rotateStorageKey: {
    method: "POST",
    path: "/v1/storage-key/rotate",
    summary:
      "Make a new storage key for the store of this node's region. The leader brings every record under it, and then the older key ends.",
    tag: "System",
    roles: may.manage,
    scope: "system",
    answer: storageKey,
    problems: ["wrongState", "rootUnavailable", "storeUnavailable"],
    audit: "storage-key.rotate",
    command: { words: "storage-key rotate", example: "holdfast storage-key rotate" },
  },
  readBackups: {
    method: "GET",
    path: "/v1/backups",
    summary: "Show the region's last backups.",
    tag: "System",
    roles: may.read,
    scope: "system",
    answer: z.object({
      items: z.array(
        z.object({
          region,
          name: z.string(),
          file: z.string(),
          startedAt: time,
          endedAt: time.optional(),
          records: z.number().int(),
          bytes: z.number().int(),
          ok: z.boolean(),
          reason: z.string(),
        }),
      ),
      work: z.array(backupWork).describe("The last order of each kind in each region."),
    }),
    problems: [],
    command: {
      words: "backups",
      list: {
        of: "backups",
        columns: [
          "STARTED=startedAt",
          "REGION=region",
          "OK=ok",
          "RECORDS=records",
          "BYTES=bytes",
          "REASON=reason",
          "FILE=file",
        ],
      },
    },
  },
  runBackup: {
    method: "POST",
    path: "/v1/backups",
    summary:
      "Order a backup of a region's store now. The region's leader makes it; `holdfast backups` shows how far it is.",
    tag: "System",
    roles: may.manage,
    scope: "system",
    body: z
      .object({
        region: region
          .optional()
          .describe(
            "The region whose store is backed up; that of the node that is asked unless given.",
          ),
      })
      .strict(),
    answer: backupWork,
    status: 202,
    problems: ["wrongState", "conflict", "storeUnavailable"],
    audit: "backup.order",
    command: { words: "backup-order run", example: "holdfast backup-order run" },
  },
  verifyBackup: {
    method: "POST",
    path: "/v1/backups/{backup}/verify",
    summary:
      "Order that a backup is read and authenticated, every part of it. No key is opened. The leader of its region does it.",
    ...ofBackup,
    command: {
      words: "backup-order verify",
      example: "holdfast backup-order verify holdfast-a-20261125T023000Z.backup",
    },
  },
  planRestore: {
    method: "POST",
    path: "/v1/backups/{backup}/restore-plan",
    summary:
      "Order a report of what a restore of a backup would bring back, and what is newer now. It writes nothing. The leader of its region does it.",
    ...ofBackup,
    command: {
      words: "backup-order plan",
      example: "holdfast backup-order plan holdfast-a-20261125T023000Z.backup",
    },
  },
  readOpenApi: {
    method: "GET",
    path: "/v1/openapi.json",
    summary: "This contract as OpenAPI 3.1.",
    tag: "System",
    roles: "public",
    scope: "system",
    answer: z.looseObject({ openapi: z.string() }),
    problems: [],
    command: { words: "openapi" },
  },
} as const satisfies Routes;
