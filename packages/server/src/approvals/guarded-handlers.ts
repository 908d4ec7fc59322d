import {
  type Call,
  contract,
  type Guard,
  type Handlers,
  ManagementError,
  type Route,
} from "@holdfast/admin";
import { dryRun, isDryRun } from "../records/dry-run.ts";
import type { SystemView } from "../records/system-view.ts";
import type { Approvals, Asked } from "./requests.ts";

/** What guards are decided with. */
export interface GuardOptions {
  readonly approvals: Pick<Approvals, "needed" | "ask" | "use">;
  readonly view: Pick<SystemView, "of">;
}

type Handler = (call: Call) => Promise<unknown>;

/** Makes handlers of guarded routes carry out only what approvers signed, where the approval policy asks for it. */
export function withApprovals<Some extends Partial<Handlers>>(
  handlers: Some,
  options: GuardOptions,
): Some {
  const wrapped = Object.entries(handlers).map(([name, handler]) => {
    const route: Route = contract[name as keyof Handlers];
    const { guarded } = route;
    if (guarded === undefined) return [name, handler];
    const inner = handler as Handler;
    return [name, (call: Call) => guardedCall({ name, route, guarded, inner }, call, options)];
  });
  return Object.fromEntries(wrapped) as Some;
}

interface GuardedRoute {
  readonly name: string;
  readonly route: Route;
  readonly guarded: Guard;
  readonly inner: Handler;
}

async function guardedCall(
  { name, route, guarded, inner }: GuardedRoute,
  call: Call,
  { approvals, view }: GuardOptions,
): Promise<unknown> {
  // A dry run writes nothing.
  if (isDryRun()) return await inner(call);
  const version = await approvals.needed(guarded.action);
  if (version === undefined || !isGuarded(guarded, call, view)) return await inner(call);
  const asked: Asked = {
    action: guarded.action,
    operation: name,
    target: targetOf(call),
    call: shownCall(route, call),
    by: call.principal.id,
    actor: call,
  };
  if (call.approval !== undefined) {
    return await approvals.use(call.approval, asked, () => inner(call));
  }
  // Nobody should be asked to approve what would be refused.
  await dryRun(() => inner(call));
  const id = await approvals.ask(asked, version);
  const { approvals: needed } = version.policy;
  throw new ManagementError(
    "approvalNeeded",
    `${needed} approvers must sign this first: give them the document of \`holdfast approval show ${id}\`, hand in their signatures, then repeat this with --approval ${id}`,
    { request: id },
  );
}

function isGuarded({ when }: Guard, { params, body }: Call, view: GuardOptions["view"]): boolean {
  if (when === undefined) return true;
  const instance = valuesOf(params)["instance"];
  const records = instance === undefined ? [] : [...view.of("Instance", instance).values()];
  const shredded = records.some(({ keys }) =>
    Object.values(keys ?? {}).some((order) => order?.keys === "shredded"),
  );
  return when({ body: (body ?? {}) as Readonly<Record<string, unknown>>, shredded });
}

/** What the path names, from the outside in; the name of what is to be made if it names nothing. */
function targetOf({ params, body }: Call): string {
  const named = Object.values(valuesOf(params));
  const { name } = (body ?? {}) as { readonly name?: unknown };
  return named.length === 0 && typeof name === "string" ? name : named.join("/");
}

function valuesOf(params: unknown): Readonly<Record<string, string>> {
  return (params ?? {}) as Readonly<Record<string, string>>;
}

/** What approvers see and sign: no secret, since the store would keep it, and nobody can judge one. */
function shownCall({ command }: Route, { params, query, body }: Call): unknown {
  const secrets = new Set(command.secrets);
  const shown = Object.fromEntries(
    Object.entries(body ?? {}).map(([name, value]) => [
      name,
      secrets.has(name) ? notShown : withoutSecrets(value),
    ]),
  );
  return { params, query: query ?? {}, body: shown };
}

const notShown = "(secret)";

/** Without the values of secrets of key managers, which have the form `{ value: SECRET }`. */
function withoutSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((each) => withoutSecrets(each));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  const [only] = entries;
  if (entries.length === 1 && only?.[0] === "value") return { value: notShown };
  return Object.fromEntries(entries.map(([name, each]) => [name, withoutSecrets(each)]));
}
