import { trailCount } from "@holdfast/engine";
import { z } from "zod";

/** Bytes of all entries of one answer, at most: in base64 they fit one command's answer. */
export const trailBytesMax = 40 * 1024;
/** Entries of one page, at most. */
export const trailEntriesMax = 400;

/** Instances that a question may name. */
export const trailInstancesMax = 1_000;

const text = z.string().max(256);
const time = z.number().int();
const cursor = z.string().max(512);
const outcome = z.enum(["pending", "success", "failure", "unknown"]);

const filters = z.object({
  instances: z.array(text).max(trailInstancesMax).optional(),
  action: text.optional(),
  outcome: outcome.optional(),
  severity: z.enum(["normal", "warning", "critical"]).optional(),
  target: text.optional(),
  initiator: text.optional(),
  fromMs: time.optional(),
  toMs: time.optional(),
});

const entries = z
  .array(
    z.object({
      partition: z
        .number()
        .int()
        .min(0)
        .max(trailCount - 1),
      number: z.number().int().min(0),
      /** Base64. */
      bytes: z.base64().max(64 * 1024),
    }),
  )
  .max(20_000);

const identifier = z.string().min(1).max(256);

/** What a region's node asks the other's about the audit trail in that region's own store. */
export const trailPeerCommands = {
  /** A page of entries with events that match the filters. */
  readTrail: {
    input: z.object({
      filters,
      limit: z.number().int().min(1).max(trailEntriesMax),
      order: z.enum(["newest", "oldest"]),
      cursor: cursor.optional(),
    }),
    output: z.object({
      storeId: text,
      entries,
      start: cursor,
      next: z.object({ cursor, timeMs: time }).optional(),
    }),
  },
  /** Entries that are newer than a place in the trail. */
  readTrailNews: {
    input: z.object({
      filters,
      place: z.object({
        after: cursor.optional(),
        sinceMs: time.optional(),
        lastEventId: text.optional(),
      }),
    }),
    output: z.object({
      storeId: text,
      entries,
      after: cursor,
      more: z.boolean(),
      sinceMs: time.optional(),
    }),
  },
  /** Who did something to a key about these times; milliseconds since the epoch. */
  readKeyEvents: {
    input: z.object({ instance: identifier, key: identifier, times: z.array(time).max(8) }),
    output: z.object({
      events: z.array(z.object({ time, action: text, initiator: text })).max(400),
    }),
  },
} as const;
