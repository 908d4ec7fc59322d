import {
  type AuditEntryContent,
  auditTimeOf,
  decodeAudit,
  StoreUnavailable,
  systemInstance,
} from "@holdfast/engine";

/** The content of an entry; one that does not decode gets an `audit.damage` event. */
export function readEntry(bytes: Uint8Array): AuditEntryContent {
  try {
    return decodeAudit(bytes);
  } catch (error) {
    if (!(error instanceof StoreUnavailable)) throw error;
    const time = timeOfEntry(bytes);
    const fixed = { action: "audit.damage", outcome: "failure", initiator: "holdfast" } as const;
    return { instance: systemInstance, events: [{ time, ...fixed, requestId: "" }] };
  }
}

/** The time of an entry's event; 0 for an entry that is too short. */
export function timeOfEntry(bytes: Uint8Array): number {
  return bytes.length < 8 ? 0 : auditTimeOf(bytes);
}
