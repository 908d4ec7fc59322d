import { type Call, contract, type Handlers, ManagementError, type Route } from "@holdfast/admin";
import { type Clock, type ObjectStore, systemInstance } from "@holdfast/engine";
import type { NodeObserver } from "../observe/events.ts";
import { isDryRun } from "../records/dry-run.ts";
import type { ManagementAction } from "./actions.ts";
import { type ManagementTarget, managementEvent } from "./management-event.ts";

/** What is needed to write audit events of calls. */
export interface CallEvidenceOptions {
  readonly store: Pick<ObjectStore, "appendAudit">;
  readonly clock: Clock;
  readonly observe: NodeObserver;
  /**
   * Limits the events of a caller that is bound to instances and changed nothing: it must not push the events of others
   * out of the trail. Undefined if this event is to be left out; else how many were left out before it.
   */
  readonly limit: (caller: string) => number | undefined;
}

/** The audit columns of a route; the engine audits refused operations on keys. */
interface Row extends Pick<Route, "method"> {
  readonly audit?: ManagementAction;
  readonly auditsSuccess?: true;
}

/**
 * Makes handlers write audit events of what no commit records: refusals (pending and failure, with
 * the refusal's code), and reads that are audited (`auditsSuccess`). None of these changed anything.
 */
export function withCallEvidence<Some extends Partial<Handlers>>(
  handlers: Some,
  options: CallEvidenceOptions,
): Some {
  const wrapped = Object.entries(handlers).map(([name, handler]) => {
    const { audit: action, auditsSuccess }: Row = contract[name as keyof Handlers];
    if (action === undefined) return [name, handler];
    const inner = handler as (call: Call) => Promise<unknown>;
    const handled = async (call: Call): Promise<unknown> => {
      try {
        const answer = await inner(call);
        if (auditsSuccess) append(call, action, { outcome: "success" }, options);
        return answer;
      } catch (error) {
        const reason = error instanceof ManagementError ? error.code : "internal";
        append(call, action, { outcome: "failure", reason }, options);
        throw error;
      }
    };
    return [name, handled];
  });
  return Object.fromEntries(wrapped) as Some;
}

/** Writes pending and the outcome. The caller does not wait, even if the store is unavailable. */
function append(
  call: Call,
  action: ManagementAction,
  ended: { readonly outcome: "success" | "failure"; readonly reason?: string },
  { store, clock, observe, limit }: CallEvidenceOptions,
): void {
  const isDry = isDryRun();
  // A dry run changes nothing, except that what refused a secret may have counted it.
  if (isDry && ended.reason !== "rootDenied") return;
  const { id, instances } = call.principal;
  const leftOut = instances === undefined ? 0 : limit(id);
  if (leftOut === undefined) return;
  const target = targetOf(call);
  const { outcome, ...why } = ended;
  const timeMs = clock.wallMs();
  const detail = { ...(isDry && { dryRun: "true" }), ...(leftOut > 0 && { leftOut }) };
  const events = [
    managementEvent(call, action, "pending", target, { timeMs }),
    managementEvent(call, action, outcome, target, { timeMs, ...why, detail }),
  ];
  store.appendAudit(systemInstance, events, false).catch((cause: unknown) => {
    observe({ type: "warning", message: `no audit event of ${action} (${outcome})`, cause });
  });
}

/** The innermost object that the path names, or the name of the object to be made. */
function targetOf({ params, body }: Call): ManagementTarget {
  const named = (params ?? {}) as Readonly<Record<string, string | undefined>>;
  const { name } = (body ?? {}) as { readonly name?: unknown };
  const { instance, certificate, denial, user, token, approval, policy, backup } = named;
  const innermost = certificate ?? denial ?? user ?? token ?? approval ?? policy ?? backup;
  const id = innermost ?? (typeof name === "string" ? name : instance) ?? "";
  return { id, ...(instance === undefined ? {} : { instance }) };
}
