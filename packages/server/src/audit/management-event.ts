import type { AuditEvent } from "@holdfast/engine";
import type { ManagementAction } from "./actions.ts";

/** Who acts, and by which call: a `Call` of the API is an actor. */
export interface Actor {
  readonly principal: {
    readonly name: string;
    readonly id: string;
    /** Address of the caller; left out for what a node does by itself. */
    readonly remote?: string;
  };
  readonly requestId: string;
}

/** What an action is about. */
export interface ManagementTarget {
  readonly id: string;
  readonly name?: string;
  /** The instance that it belongs to, or is. */
  readonly instance?: string;
}

/** Further fields of an event. */
export interface ManagementDetail {
  readonly timeMs: number;
  /** Of a failure: a problem's code or a few words; never a secret. */
  readonly reason?: string;
  readonly detail?: Readonly<Record<string, string | number>>;
}

/** Names of an event's details for which CADF has fields of its own. */
export const detailNames = {
  initiatorId: "initiator.id",
  remote: "initiator.host",
  targetName: "target.name",
  instance: "instance",
} as const;

/** An event of management; `detail` never holds a secret. */
export function managementEvent(
  { principal, requestId }: Actor,
  action: ManagementAction,
  outcome: AuditEvent["outcome"],
  target: ManagementTarget,
  { timeMs, reason, detail = {} }: ManagementDetail,
): AuditEvent {
  const { id, name, instance } = target;
  return {
    time: timeMs,
    action,
    outcome,
    ...(reason === undefined ? {} : { reason }),
    initiator: principal.name,
    target: id,
    requestId,
    detail: {
      ...detail,
      [detailNames.initiatorId]: principal.id,
      ...(principal.remote === undefined ? {} : { [detailNames.remote]: principal.remote }),
      ...(name === undefined ? {} : { [detailNames.targetName]: name }),
      ...(instance === undefined ? {} : { [detailNames.instance]: instance }),
    },
  };
}

/** Pending and success, to be committed with the change that they record. */
export function managementEvents(
  actor: Actor,
  action: ManagementAction,
  target: ManagementTarget,
  detail: ManagementDetail,
): readonly AuditEvent[] {
  return (["pending", "success"] as const).map((outcome) =>
    managementEvent(actor, action, outcome, target, detail),
  );
}
