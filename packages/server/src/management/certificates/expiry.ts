/** How near a certificate's end is, as lists and metrics show it. */
export type Expiry = "valid" | "in45days" | "in7days" | "in1day" | "expired" | "notYetValid";

const dayMs = 86_400_000;

/**
 * How long before its end a certificate is reported, in days: lists, metrics, events and warnings use the same. vCenter
 * and vSAN warn 30 days before, which must not be the first warning.
 */
const expiryDays = [45, 7, 1] as const;

/** How long before its end a certificate is worth a warning. */
export const warnBeforeMs = expiryDays[0] * dayMs;

/** How near a certificate's end is. */
export function expiryOf(
  { notBeforeMs, notAfterMs }: { readonly notBeforeMs: number; readonly notAfterMs: number },
  nowMs: number,
): Expiry {
  if (notAfterMs <= nowMs) return "expired";
  if (notBeforeMs > nowMs) return "notYetValid";
  if (notAfterMs <= nowMs + dayMs) return "in1day";
  if (notAfterMs <= nowMs + 7 * dayMs) return "in7days";
  return notAfterMs <= nowMs + warnBeforeMs ? "in45days" : "valid";
}

/** The last of `expiryDays` that a certificate has passed, 0 once it has ended; undefined while its end is far. */
export function expiryLevel(notAfterMs: number, nowMs: number): number | undefined {
  if (notAfterMs <= nowMs) return 0;
  return expiryDays.findLast((days) => notAfterMs <= nowMs + days * dayMs);
}
