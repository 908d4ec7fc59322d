import {
  type Call,
  contract,
  type Guard,
  type Handlers,
  ManagementError,
  type Role,
  type Route,
} from "@holdfast/admin";
import { dryRun, isDryRun } from "../records/dry-run.ts";
import { shredsInForce } from "../records/keys-order.ts";
import type { SystemView } from "../records/system-view.ts";
import { nameOf, partsFor } from "./parts.ts";
import type { Approvals, Asked } from "./requests.ts";

/** What guards are decided with. */
export interface GuardOptions {
  readonly approvals: Pick<Approvals, "needed" | "ask" | "use">;
  readonly view: Pick<SystemView, "of">;
  readonly identify: Identify;
}

/** Finds what a call names, in any form that the API takes; rejects with `notFound`. */
export interface Identify {
  readonly instance: (text: string) => Promise<{ readonly id: string; readonly name: string }>;
  readonly certificate: (instance: string, text: string) => Promise<{ readonly id: string }>;
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

/** Roles whose tokens are made with approvals. */
const leading: readonly Role[] = ["manager", "security-officer"];

interface GuardedRoute {
  readonly name: string;
  readonly route: Route;
  readonly guarded: Guard;
  readonly inner: Handler;
}

async function guardedCall(
  { name, route, guarded, inner }: GuardedRoute,
  given: Call,
  { approvals, view, identify }: GuardOptions,
): Promise<unknown> {
  // A dry run writes nothing.
  if (isDryRun()) return await inner(given);
  const version = await approvals.needed({ operation: name, target: targetOf(given) });
  if (version === undefined || !isGuarded(guarded, given, view)) return await inner(given);
  const { call, named } = await withIdentifiers(guarded, given, identify);
  const shreds = shredsOf(call, view).map(({ id }) => id);
  const asked: Asked = {
    operation: name,
    target: targetOf(call),
    call: {
      ...shownCall(route, call),
      ...(named === undefined ? {} : { instances: named }),
      // Approvers open what these orders shredded, and nothing that is shredded later.
      ...(guarded.action === "open-keys" ? { shreds } : {}),
    },
    by: call.principal.id,
    asker: call.principal.roles.some((role) => leading.includes(role)) ? "lead" : "other",
    actor: call,
  };
  if (call.approval !== undefined) {
    return await approvals.use(call.approval, asked, () => inner(call));
  }
  // Nobody should be asked to approve what would be refused.
  await dryRun(() => inner(call));
  const id = await approvals.ask(asked, version);
  const who = partsFor(version.policy, name, asked.target).map(nameOf).join(" and ");
  throw new ManagementError(
    "approvalNeeded",
    `${who} must sign this first: give them the document of \`holdfast approval show ${id}\`, hand in their signatures, then repeat this with --approval ${id}`,
    { request: id },
  );
}

function isGuarded({ when }: Guard, call: Call, view: GuardOptions["view"]): boolean {
  if (when === undefined) return true;
  const shredded = shredsOf(call, view).length > 0;
  return when({ body: (call.body ?? {}) as Readonly<Record<string, unknown>>, shredded });
}

/** The orders in force that shredded the keys of the call's instance. */
function shredsOf({ params }: Call, view: GuardOptions["view"]) {
  const instance = valuesOf(params)["instance"];
  const records = instance === undefined ? [] : [...view.of("Instance", instance).values()];
  return records.flatMap((record) => Object.values(shredsInForce(record)));
}

/**
 * The call with the identifiers of its certificate and of the instances that its body names, and these instances' names:
 * a name can move to another one.
 */
async function withIdentifiers(
  { instances: field }: Guard,
  given: Call,
  identify: Identify,
): Promise<{ readonly call: Call; readonly named?: Readonly<Record<string, string>> }> {
  const call = await withCertificate(given, identify);
  const body = (call.body ?? {}) as Readonly<Record<string, unknown>>;
  const names = field === undefined ? undefined : (body[field] as readonly string[] | undefined);
  if (field === undefined || names === undefined) return { call };
  const found = await Promise.all(names.map((text) => identify.instance(text)));
  const named = Object.fromEntries(found.map(({ id, name }) => [id, name]));
  return { call: { ...call, body: { ...body, [field]: Object.keys(named).toSorted() } }, named };
}

async function withCertificate(call: Call, identify: Identify): Promise<Call> {
  const params = valuesOf(call.params);
  const { instance, certificate } = params;
  if (instance === undefined || certificate === undefined) return call;
  const { id } = await identify.certificate(instance, certificate);
  return { ...call, params: { ...params, certificate: id } };
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
function shownCall({ command, guarded }: Route, { params, query, body }: Call) {
  const secrets = [...(command.secrets ?? []), ...(guarded?.secrets ?? [])];
  const hide = (value: unknown, path: string) => without(value, path.split("."));
  return { params, query: query ?? {}, body: secrets.reduce(hide, body ?? {}) };
}

const notShown = "(secret)";

/** A value without what a path leads to; where it leads to nothing, nothing changes. */
function without(value: unknown, [first, ...rest]: readonly string[]): unknown {
  if (first === undefined) return notShown;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [
      name,
      first === "*" || first === name ? without(each, rest) : each,
    ]),
  );
}
