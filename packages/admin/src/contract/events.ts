import { z } from "zod";
import { may, type Routes } from "./route.ts";
import { page, pageOf, region, time } from "./shapes.ts";

/** A CADF event (DMTF DSP0262), in the form of IBM's Activity Tracker. */
const event = z
  .looseObject({
    eventTime: z.string().describe("`YYYY-MM-DDTHH:mm:ss.SS+0000`, UTC."),
    action: z.string(),
    outcome: z.enum(["pending", "success", "failure", "unknown"]),
    severity: z.enum(["normal", "warning", "critical"]),
    initiator: z.looseObject({ id: z.string() }),
    target: z.looseObject({ id: z.string() }),
  })
  .meta({ id: "Event" });

const filters = z.object({
  instance: z.string().max(64).optional(),
  action: z.string().max(128).optional().describe("The action, or its beginning followed by `*`."),
  outcome: z.enum(["pending", "success", "failure", "unknown"]).optional(),
  target: z.string().max(128).optional(),
  initiator: z.string().max(128).optional(),
  severity: z.enum(["normal", "warning", "critical"]).optional(),
  from: time.optional(),
  to: time.optional(),
});

const missing = z
  .array(z.object({ region, reason: z.string() }))
  .optional()
  .describe(
    "Regions whose events are not in this list, because their trail cannot be read now; absent if all were read.",
  );

/** A check of a region's audit trail, at the node that is asked. */
const auditCheck = z
  .object({
    region: region.describe("Whose trail it is: that of the node's own store."),
    node: z.string(),
    state: z
      .enum(["none", "running", "whole", "faulty", "failed"])
      .describe(
        "none: this node has made no check since it started. failed: it could not be made.",
      ),
    startedAt: time.optional(),
    endedAt: time.optional(),
    entries: z.number().int().describe("How many entries were checked."),
    of: z.number().int().describe("About how many there are."),
    unchained: z
      .number()
      .int()
      .optional()
      .describe("Entries that are not chained yet: a change of these would not be found."),
    unwitnessed: z
      .number()
      .int()
      .optional()
      .describe("Entries that no witness has cosigned yet; absent without a log."),
    findings: z.array(z.string()).describe("What is wrong, one line each."),
    notes: z
      .array(z.string())
      .describe("Remarks that report no fault: for example, entries were removed by retention."),
    reason: z.string().optional().describe("Why the check could not be made."),
  })
  .meta({ id: "AuditCheck" });

/** Audit events. */
export const eventRoutes = {
  listEvents: {
    method: "GET",
    path: "/v1/events",
    summary: "List audit events of all regions, newest first.",
    tag: "Events",
    roles: may.readEvents,
    scope: "instance",
    query: page
      .extend(filters.shape)
      .extend({ region: region.optional().describe("One region's events only.") }),
    answer: pageOf(event).extend({ missing }),
    problems: ["storeUnavailable"],
    command: {
      words: "events",
      list: {
        of: "events",
        columns: [
          "TIME=time|short",
          "OUTCOME=outcome",
          "ACTION=action|whole",
          "WHO=who",
          "TARGET=target",
          "INSTANCE=instance",
        ],
        wide: ["SEVERITY=severity", "REGION=region", "WHO-ID=whoId", "INSTANCE-ID=instanceId"],
      },
      example: "holdfast events --follow --action 'vmware-solutions.kmip-key.*'",
    },
  },
  followEvents: {
    method: "GET",
    path: "/v1/events/stream",
    summary: "Follow audit events of all regions as they happen (Server-Sent Events).",
    tag: "Events",
    roles: may.readEvents,
    scope: "instance",
    query: filters.omit({ from: true, to: true }),
    answer: event,
    problems: ["storeUnavailable"],
    stream: true,
    command: { words: "events --follow" },
  },
  startAuditCheck: {
    method: "POST",
    path: "/v1/events/check",
    summary:
      "Begin to check the audit trail in the store of this node's region, as `holdfast audit verify` does; while a check runs, show that one.",
    tag: "Events",
    roles: may.readEvents,
    scope: "system",
    answer: auditCheck,
    status: 202,
    repeatable: true,
    problems: [],
    command: { words: "audit-check start", example: "holdfast audit-check start" },
  },
  readAuditCheck: {
    method: "GET",
    path: "/v1/events/check",
    summary: "Show how far the last check of the audit trail at this node is, and what it found.",
    tag: "Events",
    roles: may.readEvents,
    scope: "system",
    answer: auditCheck,
    problems: [],
    command: { words: "audit-check show" },
  },
} as const satisfies Routes;
