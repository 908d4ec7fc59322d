import type { Call } from "@holdfast/admin";
import type { AuditEvent } from "@holdfast/engine";

/** What is told of a change by management. */
export interface Deed {
  /** `kmip-certificate.create`: what is shown before it is the service's. */
  readonly action: string;
  /** Identifier of the record that it is about. */
  readonly target: string;
  /** Never a secret. */
  readonly detail?: Readonly<Record<string, string | number>>;
}

/** The audit events of a change that is made: pending and outcome, which are written with it. */
export function evidenceOf(
  { principal, requestId }: Pick<Call, "principal" | "requestId">,
  nowMs: number,
  { action, target, detail = {} }: Deed,
): readonly AuditEvent[] {
  const event = {
    time: nowMs,
    action,
    initiator: principal.name,
    target,
    requestId,
    detail: { ...detail, token: principal.id, role: principal.role, remote: principal.remote },
  };
  return [
    { ...event, outcome: "pending" },
    { ...event, outcome: "success" },
  ];
}
