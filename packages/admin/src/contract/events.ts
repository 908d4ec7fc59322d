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
} as const satisfies Routes;
