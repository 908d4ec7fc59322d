import { type Call, type Handlers, ManagementError } from "@holdfast/admin";
import { type Clock, type ObjectStore, systemInstance } from "@holdfast/engine";
import type { NodeObserver } from "../events.ts";
import type { ManagementAction } from "./actions.ts";
import { type ManagementTarget, managementEvent } from "./management-event.ts";

/** What refusals are written with. */
export interface RefusalsOptions {
  readonly store: Pick<ObjectStore, "appendAudit">;
  readonly clock: Clock;
  readonly observe: NodeObserver;
}

/** What was wanted by each operation that changes something; what is refused of keys, the engine writes. */
const wanted: { readonly [Name in keyof Handlers]?: ManagementAction } = {
  createToken: "token.create",
  revokeToken: "token.revoke",
  addCertificate: "certificate.create",
  adoptCertificate: "certificate.create",
  deleteCertificate: "certificate.delete",
  signRequest: "certificate.issue",
  issuePair: "certificate.issue",
  setUser: "user.update",
  deleteUser: "user.delete",
  createInstance: "instance.create",
  updateInstance: "instance.update",
  deleteInstance: "instance.delete",
  configureRoot: "root.configure",
  revalidateRoot: "root.revalidate",
  shredInstance: "root.shred",
  rewrapRoot: "root.rewrap",
  retrieveRootKeys: "root.list",
};

/** The handlers, whose refusals leave evidence: pending and failure, with the refusal's code. */
export function withRefusals<Some extends Partial<Handlers>>(
  handlers: Some,
  options: RefusalsOptions,
): Some {
  const wrapped = Object.entries(handlers).map(([name, handler]) => {
    const action = wanted[name as keyof Handlers];
    if (action === undefined) return [name, handler];
    const inner = handler as (call: Call) => Promise<unknown>;
    return [
      name,
      (call: Call) => inner(call).catch((error) => refused(call, action, error, options)),
    ];
  });
  return Object.fromEntries(wrapped) as Some;
}

async function refused(
  call: Call,
  action: ManagementAction,
  error: unknown,
  { store, clock, observe }: RefusalsOptions,
): Promise<never> {
  const reason = error instanceof ManagementError ? error.code : "internal";
  const target = targetOf(call);
  const detail = { timeMs: clock.wallMs() };
  const events = [
    managementEvent(call, action, "pending", target, detail),
    managementEvent(call, action, "failure", target, { ...detail, reason }),
  ];
  // Nobody waits for it, and a store that is out keeps nobody from being refused.
  store.appendAudit(systemInstance, events, false).catch((cause: unknown) => {
    observe({ type: "warning", message: "a refusal could not be audited", cause });
  });
  throw error;
}

/** The innermost thing that the path names; of what was to be made, its name. */
function targetOf({ params, body }: Call): ManagementTarget {
  const named = (params ?? {}) as Readonly<Record<string, string | undefined>>;
  const { name } = (body ?? {}) as { readonly name?: unknown };
  const { instance, certificate, user, token } = named;
  const id = certificate ?? user ?? token ?? (typeof name === "string" ? name : instance) ?? "";
  return { id, ...(instance === undefined ? {} : { instance }) };
}
