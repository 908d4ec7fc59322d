import type { RedisStore, StoreUsage } from "@holdfast/redis";
import { OperatorError } from "../base/operator-error.ts";
import type { Config } from "./config-table.ts";

/** The audit trail takes at most this part of `maxmemory`. */
const auditShare = 1 / 4;
/** The log over it takes at most this part of what the trail may. */
const logShare = 1 / 4;
/** The bound where neither `audit.retentionBytes` nor `maxmemory` is set. */
const auditBytesUnbounded = 1_073_741_824;

/** Bounds in bytes: events beyond `bytesMax` are deleted once every sink has them, those beyond `hardMax` at once. */
export function auditBounds(
  retentionBytes: number | undefined,
  memory: StoreUsage | undefined,
): { readonly bytesMax: number; readonly hardMax: number } {
  const maxBytes = memory?.maxBytes ?? 0;
  const hardMax = maxBytes > 0 ? Math.floor(maxBytes * auditShare) : Number.POSITIVE_INFINITY;
  const wanted = retentionBytes ?? (maxBytes > 0 ? hardMax : auditBytesUnbounded);
  return { bytesMax: Math.min(wanted, hardMax), hardMax };
}

/** The most bytes of the log's leaves. */
export function logBytesMax(
  retentionBytes: number | undefined,
  memory: StoreUsage | undefined,
): number {
  return Math.floor(auditBounds(retentionBytes, memory).bytesMax * logShare);
}

/**
 * Refuses to start where the audit trail could take more of Redis than its share. It asks to be started again, as for other
 * settings of Redis: a Redis that was promoted, or restarted with less `maxmemory`, must not keep every node down after that
 * is corrected.
 */
export async function checkAuditBounds(
  own: Pick<RedisStore, "usage">,
  { retentionBytes }: Config["audit"],
): Promise<void> {
  const memory = await own.usage().catch(() => undefined);
  const { hardMax } = auditBounds(retentionBytes, memory);
  if (retentionBytes === undefined || retentionBytes <= hardMax) return;
  throw new OperatorError(
    `audit.retentionBytes: ${retentionBytes} is more than a quarter of the store's maxmemory (${memory?.maxBytes}): set at most ${hardMax}, leave it out, or raise maxmemory`,
    "again",
  );
}
